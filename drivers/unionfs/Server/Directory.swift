// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// What the union knows of one directory: where it lies, and the names in it.
///
/// Names are known one by one as they are looked up, or all of them (`isComplete`), once the directory was read; a
/// directory of several layers is always read first, which answers every later lookup of what is not there.
final class Directory {
    /// The directory in one layer.
    struct Part {
        var layer: Int32
        /// O_PATH; -1 while closed.
        var fd: CInt = -1
    }

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// The upper has it.
        static let upper = Flags(rawValue: 1)
        /// The upper hides what the layers below have under this name.
        static let whiteout = Flags(rawValue: 2)
        /// A directory of the upper that hides those of the layers below.
        static let opaque = Flags(rawValue: 4)
        /// While a directory is read: layers further down add nothing.
        static let closed = Flags(rawValue: 8)
    }

    struct Entry {
        /// `nil`: the slot is free.
        var name: UnsafeMutablePointer<CChar>?
        var length: UInt16 = 0
        /// DT_*, of the visible object.
        var type: UInt8 = 0
        var flags: Flags = []
        /// The topmost layer below the upper in which it is visible; -1: none.
        var lower: Int32 = -1
        /// For a directory: where the list of further layers starts in `chain`; -1: none.
        var further: Int32 = -1
        var hash: UInt64 = 0
        /// Shown inode number.
        var inode: UInt64 = 0
        var node: Node?

        var isVisible: Bool { flags.contains(.upper) || (lower >= 0 && !flags.contains(.whiteout)) }
        var isInLower: Bool { lower >= 0 }
    }

    /// Top first.
    var parts: [Part]
    private(set) var entries: [Entry] = []
    private var buckets: [Int32] = []
    private var free: [Int32] = []
    private var graves = 0
    /// Layers further down that have a directory too, as linked lists.
    var chain: [(layer: Int32, next: Int32)] = []
    var isComplete = false
    private(set) var visibleCount = 0
    /// Slots in the order in which they are listed; empty: to be made.
    private var order: [Int32] = []
    private var isOrderValid = false
    /// Whether the directory has an ACL for new files, -1: not known.
    var defaultACL: Int8 = -1

    init(parts: [Part]) { self.parts = parts }

    deinit {
        for entry in entries { Glibc.free(entry.name) }
        for part in parts where part.fd >= 0 { cfuse_close(part.fd) }
    }

    var hasUpper: Bool { parts.first?.layer == 0 }

    // MARK: Names

    func slot(of name: Name) -> Int32? {
        if buckets.isEmpty { return nil }
        let hash = Self.hash(name)
        var bucket = Int(truncatingIfNeeded: hash) & (buckets.count &- 1)
        while true {
            let slot = buckets[bucket]
            if slot == -1 { return nil }
            if slot >= 0, matches(Int(slot), name, hash) { return slot }
            bucket = (bucket &+ 1) & (buckets.count &- 1)
        }
    }

    private func matches(_ slot: Int, _ name: Name, _ hash: UInt64) -> Bool {
        entries.withUnsafeBufferPointer { entries in
            guard entries[slot].hash == hash, Int(entries[slot].length) == name.count,
                let own = entries[slot].name
            else { return false }
            return memcmp(own, name.bytes, name.count) == 0
        }
    }

    /// The slot of `name`, made if there is none.
    func insert(_ name: Name) throws(Failure) -> Int32 {
        if let slot = slot(of: name) { return slot }
        if (entries.count &- free.count &+ graves &+ 1) &* 2 > buckets.count { rehash() }
        guard let copy = malloc(name.count &+ 1)?.assumingMemoryBound(to: CChar.self) else {
            throw Failure(ENOMEM)
        }
        memcpy(copy, name.bytes, name.count)
        copy[name.count] = 0
        let entry = Entry(
            name: copy,
            length: UInt16(truncatingIfNeeded: name.count),
            hash: Self.hash(name)
        )
        let slot: Int32
        if let reused = free.popLast() {
            slot = reused
            entries[Int(slot)] = entry
        } else {
            slot = Int32(truncatingIfNeeded: entries.count)
            entries.append(entry)
        }
        place(slot, entry.hash)
        isOrderValid = false
        return slot
    }

    private func place(_ slot: Int32, _ hash: UInt64) {
        var bucket = Int(truncatingIfNeeded: hash) & (buckets.count &- 1)
        while buckets[bucket] >= 0 { bucket = (bucket &+ 1) & (buckets.count &- 1) }
        if buckets[bucket] == -2 { graves &-= 1 }
        buckets[bucket] = slot
    }

    private func rehash() {
        let live = entries.count &- free.count
        var size = 8
        while size < live &* 4 { size &*= 2 }
        buckets = [Int32](repeating: -1, count: size)
        graves = 0
        for slot in entries.indices where entries[slot].name != nil {
            place(Int32(truncatingIfNeeded: slot), entries[slot].hash)
        }
    }

    /// Changes an entry, keeping the count of what is visible.
    func update(_ slot: Int32, _ body: (inout Entry) -> Void) {
        // On a copy, since the body may look at other entries.
        var entry = entries[Int(slot)]
        body(&entry)
        if entry.isVisible != entries[Int(slot)].isVisible { visibleCount &+= entry.isVisible ? 1 : -1 }
        entries[Int(slot)] = entry
    }

    /// Forgets an entry that says nothing any more.
    func remove(_ slot: Int32) {
        let index = Int(slot)
        guard let name = entries[index].name else { return }
        var bucket = Int(truncatingIfNeeded: entries[index].hash) & (buckets.count &- 1)
        while buckets[bucket] != slot { bucket = (bucket &+ 1) & (buckets.count &- 1) }
        // A grave, so that what came after it is still found.
        buckets[bucket] = -2
        graves &+= 1
        if entries[index].isVisible { visibleCount &-= 1 }
        Glibc.free(name)
        entries[index] = Entry(name: nil)
        free.append(slot)
        isOrderValid = false
    }

    /// Forgets an entry unless it has to be kept: it is visible, or hides something, or is in use.
    func removeIfIdle(_ slot: Int32) {
        let entry = entries[Int(slot)]
        if entry.node != nil { return }
        if isComplete, entry.isVisible || entry.isInLower || entry.flags.contains(.whiteout) { return }
        remove(slot)
    }

    func name(_ slot: Int32) -> Name {
        let entry = entries[Int(slot)]
        return Name(
            UnsafePointer(entry.name ?? UnsafeMutablePointer(mutating: noName)),
            count: Int(entry.length)
        )
    }

    /// Forgets the names that nobody uses; they are read again when they are needed.
    func forgetNames() {
        isComplete = false
        for slot in entries.indices where entries[slot].name != nil && entries[slot].node == nil {
            remove(Int32(truncatingIfNeeded: slot))
        }
        if entries.count == free.count {
            entries = []
            free = []
            buckets = []
            graves = 0
            chain = []
        }
        order = []
    }

    var knownCount: Int { entries.count &- free.count }

    // MARK: Order

    /// Where a listing goes on after the entry whose cookie is `cookie`: slots in order.
    ///
    /// A cookie depends on the name alone, so a listing goes on rightly after names came and went, and after the
    /// directory was forgotten and read again.
    func slots(after cookie: UInt64) -> ArraySlice<Int32> {
        if !isOrderValid {
            makeOrder()
        }
        var (low, high) = (0, order.count)
        while low < high {
            let middle = (low &+ high) / 2
            if Self.cookie(entries[Int(order[middle])].hash) <= cookie {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        return order[low...]
    }

    private func makeOrder() {
        var keyed: [(cookie: UInt64, slot: Int32)] = []
        keyed.reserveCapacity(entries.count &- free.count)
        for slot in entries.indices where entries[slot].name != nil {
            keyed.append((Self.cookie(entries[slot].hash), Int32(truncatingIfNeeded: slot)))
        }
        keyed.sort { $0.cookie < $1.cookie }
        order = keyed.map(\.slot)
        isOrderValid = true
    }

    /// 3 and more; the first two are those of `.` and `..`.
    static func cookie(_ hash: UInt64) -> UInt64 { max(hash >> 1, 3) }

    /// Keyed, so that nobody can choose names that meet.
    static func hash(_ name: Name) -> UInt64 {
        var value = key &+ UInt64(truncatingIfNeeded: name.count)
        var rest = name.count
        var next = UnsafeRawPointer(name.bytes)
        while rest >= 8 {
            value = mix(value ^ next.loadUnaligned(as: UInt64.self))
            next += 8
            rest &-= 8
        }
        var last: UInt64 = 0
        memcpy(&last, next, rest)
        return mix(value ^ last)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = (value ^ key).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low &+ (value >> 29)
    }

    /// Set once, before the first directory is made.
    nonisolated(unsafe) static var key: UInt64 = 0
}
