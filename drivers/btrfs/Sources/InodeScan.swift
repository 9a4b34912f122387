// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LayerDiff
import LinuxSys
import Synchronization
import SystemPackage

/// What the item of an inode says of it.
struct InodeItem: Equatable {
    /// The transactions that made the inode and that last wrote it.
    let made: UInt64
    let changed: UInt64
    let size: UInt64
    let links: UInt32
    private let user: UInt32
    private let group: UInt32
    private let mode: UInt32
    private let device: UInt64
    private let flags: UInt64
    private let modified: Timestamp

    init(_ data: ItemData) throws(SystemError) {
        made = try data.integer(at: 0, UInt64.self)
        changed = try data.integer(at: 8, UInt64.self)
        size = try data.integer(at: 16, UInt64.self)
        links = try data.integer(at: 40, UInt32.self)
        user = try data.integer(at: 44, UInt32.self)
        group = try data.integer(at: 48, UInt32.self)
        mode = try data.integer(at: 52, UInt32.self)
        device = try data.integer(at: 56, UInt64.self)
        flags = try data.integer(at: 64, UInt64.self)
        modified = Timestamp(
            seconds: try data.integer(at: 136, Int64.self),
            nanoseconds: try data.integer(at: 144, UInt32.self)
        )
    }

    var isDirectory: Bool { mode & 0o170000 == 0o040000 }

    /// Whether something besides its mode keeps it as it is: no layer has such marks, or would let them be removed.
    var isProtected: Bool {
        let (immutable, appendOnly, verity): (UInt64, UInt64, UInt64) = (1 << 6, 1 << 7, 1 << 32)
        return flags & (immutable | appendOnly | verity) != 0
    }

    /// Whether this alone tells that the inode is changed; else its content and its attributes may.
    func differs(from other: Self) -> Bool {
        mode != other.mode || user != other.user || group != other.group || modified != other.modified
            || device != other.device || (!isDirectory && size != other.size)
    }
}

/// An inode that was written since, with those of its names that stood near it.
///
/// Belongs to the thread that finds it, until that has ended.
final class ChangedInode: @unchecked Sendable {
    struct Before {
        var item: InodeItem
        /// `nil`: those of now.
        var names: [InodeNames.Name]? = []
    }

    let inode: UInt64
    let item: InodeItem
    var names: [InodeNames.Name] = []
    /// What it was in the parent; `nil` for a new one.
    var before: Before?
    /// Of a directory.
    var entries = ScannedEntries()
    /// The names that a directory lost, unless only a listing tells.
    var removed: [TreePath]?

    init(_ inode: UInt64, _ item: InodeItem) {
        self.inode = inode
        self.item = item
    }

    /// Its names in the parent; `nil` for a new one.
    var namesBefore: [InodeNames.Name]? { before.map { $0.names ?? names } }
}

/// Finds the inodes of a subvolume that were written after a transaction.
struct InodeScan: Sendable {
    private let tree: TreeSearch
    private let parent: TreeSearch
    private let transaction: UInt64
    /// Parts in which a large tree is read, so that two threads have the same to do wherever the changes are.
    private static let parts: UInt64 = 16

    /// - Parameters:
    ///   - tree: one that nobody changes, with all that was done to it written; stays the caller's.
    ///   - parent: what it was made from, as it was then; stays the caller's.
    ///   - transaction: what was written by later ones counts.
    init(_ tree: CInt, over parent: CInt, after transaction: UInt64) {
        self.tree = TreeSearch(tree)
        self.parent = TreeSearch(parent)
        self.transaction = transaction
    }

    /// All inodes that changed, those of a large tree by two threads: what takes time is the kernel's copying.
    func find() throws(SystemError) -> [ChangedInode] {
        let end = try tree.endOfInodes()
        if end < 10_000 { return try find(from: .first, to: .last, SearchBuffer()) }
        let next = Atomic<UInt64>(0)
        let other = Mutex<Result<[ChangedInode], SystemError>>(.success([]))
        // If there can be no other thread, this one reads all parts.
        let thread = try? Thread { [self] in
            let found = Result { () throws(SystemError) in try findParts(next, end) }
            other.withLock { $0 = found }
        }
        let own = Result { () throws(SystemError) in try findParts(next, end) }
        thread?.join()
        return try own.get() + other.withLock { $0 }.get()
    }

    /// Reads one part after the other, as long as nobody else has taken it.
    private func findParts(
        _ next: borrowing Atomic<UInt64>,
        _ end: UInt64
    ) throws(SystemError) -> [ChangedInode] {
        let buffer = SearchBuffer(byteCount: 256 << 10)
        let size = end / Self.parts + 1
        var changed: [ChangedInode] = []
        while true {
            let part = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if part >= Self.parts { return changed }
            changed += try find(
                from: ItemKey(object: part * size, type: 0, offset: 0),
                to: part == Self.parts - 1
                    ? .last : ItemKey(object: (part + 1) * size - 1, type: .max, offset: .max),
                buffer
            )
        }
    }

    private func find(
        from first: ItemKey,
        to last: ItemKey,
        _ buffer: SearchBuffer
    ) throws(SystemError) -> [ChangedInode] {
        var changed: [ChangedInode] = []
        var isCurrent = false
        try tree.forEach(
            from: first,
            to: last,
            since: transaction + 1,
            into: buffer
        ) { key, data throws(SystemError) in
            let type = Int32(key.type)
            if type == BTRFS_INODE_ITEM_KEY {
                isCurrent = try data.integer(at: 8, UInt64.self) > transaction
                if !isCurrent { return }
                let item = try InodeItem(data)
                // A file without a name is open somewhere, and gone once that is closed.
                isCurrent = item.links > 0
                if isCurrent { changed.append(ChangedInode(key.object, item)) }
                return
            }
            // Nearly all are of others.
            guard isCurrent, let last = changed.last, last.inode == key.object else { return }
            switch type {
            case BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY:
                try InodeNames.read(key, data) { last.names.append($0) }
            case BTRFS_DIR_INDEX_KEY:
                try last.entries.add(number: key.offset, data, after: transaction)
            default: break
            }
        }
        for inode in changed where inode.item.made <= transaction { try compare(inode, buffer) }
        return changed
    }

    /// Looks at what an inode was in the parent.
    private func compare(_ changed: ChangedInode, _ buffer: SearchBuffer) throws(SystemError) {
        let inode = changed.inode
        // Nearly all have one name: there are these two items, and to look for more takes as long again.
        var before = try before(inode, most: 2, buffer)
        if let found = before, found.names?.count != Int(found.item.links) {
            before = try self.before(inode, most: .max, buffer)
        }
        // So there is less to be thrown away by the one thread at the end.
        if before?.names == changed.names { before?.names = nil }
        changed.before = before
        if let before, changed.item.isDirectory {
            changed.removed = try changed.entries.removed(
                from: inode,
                of: parent,
                sizes: (before.item.size, changed.item.size),
                buffer
            )
        }
    }
}

extension InodeScan {
    private func before(
        _ inode: UInt64,
        most: UInt32,
        _ buffer: SearchBuffer
    ) throws(SystemError) -> ChangedInode.Before? {
        var before: ChangedInode.Before?
        try parent.forEach(
            from: ItemKey(object: inode, type: UInt8(BTRFS_INODE_ITEM_KEY), offset: 0),
            to: ItemKey(object: inode, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max),
            most: most,
            into: buffer
        ) { key, data throws(SystemError) in
            if Int32(key.type) == BTRFS_INODE_ITEM_KEY {
                before = ChangedInode.Before(item: try InodeItem(data))
            } else {
                try InodeNames.read(key, data) { before?.names?.append($0) }
            }
        }
        return before
    }
}

/// The entries of a directory, as far as they stood in leaves that were written since.
///
/// Each entry has a number that no other one of its directory ever has, given upwards. The size of a directory is twice
/// the length of its names, which tells whether all were seen.
struct ScannedEntries {
    struct Entry {
        var name: TreePath
        /// `nil` for what is no plain file: a directory, a subvolume.
        var file: UInt64?
    }

    /// Those that came since.
    private(set) var added: [Entry] = []
    private var length: UInt64 = 0
    private var addedLength: UInt64 = 0
    /// Numbers of none of the entries.
    private var gaps: [ClosedRange<UInt64>] = []
    private var next: UInt64 = 2

    mutating func add(number: UInt64, _ data: ItemData, after transaction: UInt64) throws(SystemError) {
        let nameLength = try data.integer(at: 27, UInt16.self)
        length &+= UInt64(nameLength)
        if number > next { gaps.append(next...(number - 1)) }
        next = number &+ 1
        if try data.integer(at: 17, UInt64.self) <= transaction { return }
        addedLength &+= UInt64(nameLength)
        let keyType = try data.integer(at: 8, UInt8.self)
        let kind = try data.integer(at: 29, UInt8.self)
        let isFile = keyType == UInt8(BTRFS_INODE_ITEM_KEY) && kind != UInt8(BTRFS_FT_DIR)
        added.append(
            Entry(
                name: try data.name(at: 30, length: nameLength),
                file: isFile ? try data.integer(at: 0, UInt64.self) : nil
            )
        )
    }

    /// The names that the parent has under numbers that are gone; `nil` if these may not be all that went.
    ///
    /// - Parameter sizes: of the directory, in the parent and now.
    func removed(
        from directory: UInt64,
        of parent: TreeSearch,
        sizes: (before: UInt64, now: UInt64),
        _ buffer: SearchBuffer
    ) throws(SystemError) -> [TreePath]? {
        guard length &* 2 == sizes.now else { return nil }
        let gaps = gaps + [next...UInt64.max]
        var missing = sizes.before &+ addedLength &* 2 &- sizes.now
        var names: [TreePath] = []
        var position = 0
        for range in gaps.count > 4 ? [gaps[0].lowerBound...UInt64.max] : gaps where missing != 0 {
            let type = UInt8(BTRFS_DIR_INDEX_KEY)
            let width = range.upperBound - range.lowerBound
            try parent.forEach(
                from: ItemKey(object: directory, type: type, offset: range.lowerBound),
                to: ItemKey(object: directory, type: type, offset: range.upperBound),
                most: width < 100 ? UInt32(width) + 1 : .max,
                into: buffer
            ) { key, data throws(SystemError) in
                while gaps[position].upperBound < key.offset { position += 1 }
                if gaps[position].lowerBound > key.offset { return }
                let length = try data.integer(at: 27, UInt16.self)
                missing &-= UInt64(length) &* 2
                names.append(try data.name(at: 30, length: length))
            }
        }
        return missing == 0 ? names : nil
    }
}
