// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LinuxSys
import SystemPackage

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

    init() {}

    /// - Parameter added: all that came since.
    init(added: [Entry]) { self.added = added }

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
        _ buffers: SearchBuffers
    ) throws(SystemError) -> [TreePath]? {
        guard length &* 2 == sizes.now else { return nil }
        let gaps = gaps + [next...UInt64.max]
        var missing = sizes.before &+ addedLength &* 2 &- sizes.now
        var names: [TreePath] = []
        var position = 0
        for range in gaps.count > 4 ? [gaps[0].lowerBound...UInt64.max] : gaps where missing != 0 {
            let type = UInt8(BTRFS_DIR_INDEX_KEY)
            let width = range.upperBound - range.lowerBound
            let isNarrow = width < 8
            try parent.forEach(
                from: ItemKey(object: directory, type: type, offset: range.lowerBound),
                to: ItemKey(object: directory, type: type, offset: range.upperBound),
                most: width < 100 ? UInt32(width) + 1 : .max,
                into: isNarrow ? buffers.small : buffers.large
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
