// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LinuxSys
import Storage
import SystemPackage

/// What a subvolume occupies: by its own writes, and together with what it was made from.
struct Occupancy {
    /// What was written since the subvolume was made.
    var own = LayerUsage(bytes: 0, inodes: 0)
    /// What it took over and still refers to.
    var sharedBytes: Int64 = 0

    /// An extent counts once, at the size that it has on disk.
    private var extents: Set<UInt64> = []
    private var inodeIsOwn = false

    /// Reads the items of a subvolume, and of those in it.
    ///
    /// - Parameters:
    ///   - transaction: what was written by later ones is its own; `nil` for a subvolume that began empty.
    ///   - countsShared: else the leaves that it took over are not read.
    init(of subvolume: CInt, after transaction: UInt64?, countsShared: Bool) throws(SystemError) {
        let first = transaction.map { $0 + 1 } ?? 0
        let since = countsShared ? 0 : first
        let buffer = SearchBuffer(byteCount: 256 << 10)
        try read(TreeSearch(subvolume), since: since, ownFrom: first, buffer)
        var pending = [try Subvolume.info(subvolume).id]
        while let id = pending.popLast() {
            for nested in try Subvolume.nested(in: id, on: subvolume) {
                do throws(SystemError) {
                    try read(TreeSearch(subvolume, tree: nested.id), since: since, ownFrom: first, buffer)
                } catch {
                    // Deleted meanwhile.
                    if error.errno != .noSuchFileOrDirectory { throw error }
                }
                pending.append(nested.id)
            }
        }
    }

    private mutating func read(
        _ tree: TreeSearch,
        since: UInt64,
        ownFrom first: UInt64,
        _ buffer: SearchBuffer
    ) throws(SystemError) {
        try tree.forEach(from: .first, to: .last, since: since, into: buffer) {
            key,
            data throws(SystemError) in
            switch Int32(key.type) {
            case BTRFS_INODE_ITEM_KEY:
                inodeIsOwn = try data.integer(at: 8, UInt64.self) >= first
                if inodeIsOwn { own.inodes += 1 }
            case BTRFS_EXTENT_DATA_KEY: try add(data, ownFrom: first)
            default: break
            }
        }
    }

    private mutating func add(_ data: ItemData, ownFrom first: UInt64) throws(SystemError) {
        let isInline = try data.integer(at: 20, UInt8.self) == UInt8(BTRFS_FILE_EXTENT_INLINE)
        if isInline {
            // Its data follows the head of the item, and is written anew with the file.
            return count(Int64(data.count - 21), isOwn: inodeIsOwn)
        }
        let start = try data.integer(at: 21, UInt64.self)
        // A hole starts nowhere.
        guard start != 0, extents.insert(start).inserted else { return }
        let size = Int64(clamping: try data.integer(at: 29, UInt64.self))
        count(size, isOwn: try data.integer(at: 0, UInt64.self) >= first)
    }

    private mutating func count(_ bytes: Int64, isOwn: Bool) {
        if isOwn { own.bytes &+= bytes } else { sharedBytes &+= bytes }
    }
}

/// The items that say where the content of a file lies.
///
/// Files of two snapshots for which they are equal have the same content: an extent is never written to again.
struct FileExtents: Equatable {
    private var items: [UInt64: [UInt8]] = [:]

    init(of inode: UInt64, in subvolume: CInt) throws(SystemError) {
        let type = UInt8(BTRFS_EXTENT_DATA_KEY)
        var items: [UInt64: [UInt8]] = [:]
        try TreeSearch(subvolume).forEach(
            from: ItemKey(object: inode, type: type, offset: 0),
            to: ItemKey(object: inode, type: type, offset: .max)
        ) { key, data throws(SystemError) in items[key.offset] = data.copy }
        self.items = items
    }
}
