// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import SystemPackage

/// The key of an item in one of the trees of which btrfs consists.
struct ItemKey: Hashable, Sendable {
    var object: UInt64
    var type: UInt8
    var offset: UInt64

    static let first = ItemKey(object: 0, type: 0, offset: 0)
    static let last = ItemKey(object: .max, type: .max, offset: .max)

    /// The next possible key; `nil` after the last.
    fileprivate var successor: ItemKey? {
        if offset < .max { return ItemKey(object: object, type: type, offset: offset + 1) }
        if type < .max { return ItemKey(object: object, type: type + 1, offset: 0) }
        if object < .max { return ItemKey(object: object + 1, type: 0, offset: 0) }
        return nil
    }

    fileprivate var raw: cbtrfs_key { cbtrfs_key(object: object, offset: offset, type: type) }
}

/// The data of an item, in the form on disk; valid during the call that gives it.
struct ItemData {
    fileprivate let bytes: UnsafeRawBufferPointer

    var count: Int { bytes.count }

    var copy: [UInt8] { Array(bytes) }

    /// A little-endian number; data that is too short for it is EUCLEAN, as the kernel says.
    func integer<T: FixedWidthInteger>(at offset: Int, _ type: T.Type) throws(SystemError) -> T {
        guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { throw Self.malformed }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    func name(at offset: Int, length: UInt16) throws(SystemError) -> TreePath {
        guard length > 0, offset <= bytes.count - Int(length) else { throw Self.malformed }
        return TreePath(bytes: Array(bytes[offset..<(offset + Int(length))]))
    }

    fileprivate static var malformed: SystemError {
        SystemError("read an item of btrfs", nil, Errno(rawValue: EUCLEAN))
    }
}

/// Memory for the answers of searches, of which one at a time may use it.
final class SearchBuffer {
    /// An item has at most 64 KiB, and stands behind a head.
    fileprivate static let largestItem = (64 << 10) + MemoryLayout<btrfs_ioctl_search_header>.size

    fileprivate private(set) var bytes: UnsafeMutableRawBufferPointer

    /// For few items; for many there should be more room, but not more than the processor keeps at hand.
    ///
    /// Each search touches all of it, so one that is for a few small items is best as small. It grows where it has to.
    init(byteCount: Int = 80 << 10) {
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
    }

    deinit { bytes.deallocate() }

    fileprivate func makeRoomForAnyItem() {
        bytes.deallocate()
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 80 << 10, alignment: 16)
    }
}

/// Reads items of a tree with the kernel's tree search, which needs CAP_SYS_ADMIN.
///
/// It sees what was committed and what the tree has got since; names and attributes that the kernel still holds
/// back are missing until the next commit, which a snapshot brings about.
struct TreeSearch: Sendable {
    private let fd: CInt
    private let tree: UInt64

    /// - Parameters:
    ///   - fd: stays the caller's.
    ///   - tree: `nil` for that of the subvolume on which `fd` lies.
    init(_ fd: CInt, tree: UInt64? = nil) {
        self.fd = fd
        self.tree = tree ?? 0
    }

    /// Calls `body` for each item from `first` to `last`.
    ///
    /// - Parameters:
    ///   - transaction: leaves that are older are passed over, and so items of which nothing is newer.
    ///   - most: after so many items it ends, without a look at the rest of the leaf; few, so that all have room.
    ///   - buffer: for many searches, or large ones.
    func forEach(
        from first: ItemKey,
        to last: ItemKey,
        since transaction: UInt64 = 0,
        most: UInt32 = .max,
        into buffer: SearchBuffer = SearchBuffer(),
        _ body: (ItemKey, ItemData) throws(SystemError) -> Void
    ) throws(SystemError) {
        var next: ItemKey? = first
        while let start = next {
            let answer = try search(from: start, to: last, since: transaction, most: most, into: buffer, body)
            if answer.count >= most { return }
            next = answer.next
        }
    }

    /// Calls `body` for the items of one answer, as `forEach` does.
    ///
    /// - Returns: how many they were, and where to go on; `nil` if there are no more.
    func search(
        from first: ItemKey,
        to last: ItemKey,
        since transaction: UInt64,
        most: UInt32,
        into buffer: SearchBuffer,
        _ body: (ItemKey, ItemData) throws(SystemError) -> Void
    ) throws(SystemError) -> (count: Int, next: ItemKey?) {
        let overflow = Errno(rawValue: EOVERFLOW)
        while true {
            let bytes = buffer.bytes
            let (address, size) = (bytes.baseAddress, bytes.count)
            let count = try systemAnswer("search a tree of btrfs", expecting: overflow) {
                cbtrfs_search(fd, tree, first.raw, last.raw, transaction, most, address, size)
            }
            // The first item has no room.
            guard let count else {
                if size >= SearchBuffer.largestItem + CBTRFS_SEARCH_ITEMS {
                    throw SystemError("search a tree of btrfs", nil, overflow)
                }
                buffer.makeRoomForAnyItem()
                continue
            }
            if count == 0 { return (0, nil) }
            let (key, end) = try items(Int(count), in: UnsafeRawBufferPointer(bytes), body)
            // Where any item had found room, there was none.
            let isLast = count < most && size - end >= SearchBuffer.largestItem
            return (Int(count), isLast ? nil : key.successor)
        }
    }

    /// Above are objects of other kinds; so many files nobody makes.
    private static let largestInode: UInt64 = 1 << 48

    /// A number above that of each inode, by not more than a sixteenth and a few thousand.
    func endOfInodes() throws(SystemError) -> UInt64 {
        var (low, high): (UInt64, UInt64) = (0, 4096)
        while high < Self.largestInode, try hasItems(from: high) { (low, high) = (high, high * 2) }
        while high - low > max(high / 16, 4096) {
            let middle = low + (high - low) / 2
            if try hasItems(from: middle) { low = middle } else { high = middle }
        }
        return high
    }

    private func hasItems(from object: UInt64) throws(SystemError) -> Bool {
        try withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { buffer throws(SystemError) in
            let first = ItemKey(object: object, type: 0, offset: 0)
            let last = ItemKey(object: Self.largestInode, type: .max, offset: .max)
            // EOVERFLOW: there is one, of more bytes.
            let count = try systemAnswer("search a tree of btrfs", expecting: Errno(rawValue: EOVERFLOW)) {
                cbtrfs_search(fd, tree, first.raw, last.raw, 0, 1, buffer.baseAddress, buffer.count)
            }
            return count != 0
        }
    }

    /// Gives the items of one answer; the key of the last, and where it ends.
    private func items(
        _ count: Int,
        in buffer: UnsafeRawBufferPointer,
        _ body: (ItemKey, ItemData) throws(SystemError) -> Void
    ) throws(SystemError) -> (key: ItemKey, end: Int) {
        var offset = CBTRFS_SEARCH_ITEMS
        var key = ItemKey.last
        for _ in 0..<count {
            let size = MemoryLayout<btrfs_ioctl_search_header>.size
            guard offset <= buffer.count - size else { throw ItemData.malformed }
            let header = buffer.loadUnaligned(fromByteOffset: offset, as: btrfs_ioctl_search_header.self)
            offset += size
            guard Int(header.len) <= buffer.count - offset else { throw ItemData.malformed }
            key = ItemKey(
                object: header.objectid,
                type: UInt8(truncatingIfNeeded: header.type),
                offset: header.offset
            )
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[offset..<(offset + Int(header.len))])
            try body(key, ItemData(bytes: bytes))
            offset += Int(header.len)
        }
        return (key, offset)
    }
}
