// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LinuxSys
import SystemPackage

/// Directories that changed, and of whose entries only their inodes tell.
///
/// Who comes to a directory, leaves it or gets another name in it is a changed inode, which says so itself; who is removed
/// is no inode any more, and of these only some are known by name. The size of a directory is twice the length of its
/// names: where that comes out even, all are known. Where it does not, the entries are read after all.
struct PassedDirectories {
    private let directories: [ChangedInode]
    /// By directory, where all names of all inodes are known.
    private var differences: [UInt64: Difference]? = [:]

    private struct Difference {
        var added: [ScannedEntries.Entry] = []
        var removed: [TreePath] = []
        /// Of the names that came, less those that went.
        var growth: Int64 = 0

        mutating func add(_ name: TreePath, file: UInt64?) {
            added.append(ScannedEntries.Entry(name: name, file: file))
            growth += Int64(name.bytes.count)
        }

        mutating func remove(_ name: TreePath) {
            removed.append(name)
            growth -= Int64(name.bytes.count)
        }
    }

    init(_ found: InodeScan.Found) {
        directories = found.changed.filter { $0.isPassedOver && $0.before != nil }
        if directories.isEmpty { return }
        for directory in directories { differences?[directory.inode] = Difference() }
        for inode in found.changed {
            let before = inode.namesBefore ?? []
            guard inode.names.count == Int(inode.item.links),
                before.count == Int(inode.before?.item.links ?? 0)
            else {
                differences = nil
                return
            }
            if inode.before != nil, inode.before?.names == nil { continue }
            for name in inode.names where !before.contains(name) {
                differences?[name.directory]?.add(name.name, file: inode.item.isDirectory ? nil : inode.inode)
            }
            for name in before where !inode.names.contains(name) {
                differences?[name.directory]?.remove(name.name)
            }
        }
        for name in found.lost { differences?[name.directory]?.remove(name.name) }
    }

    /// Says to each of the directories what it got and lost.
    func complete(_ scan: InodeScan) throws(SystemError) {
        if directories.isEmpty { return }
        let buffers = SearchBuffers()
        for directory in directories {
            guard let before = directory.before else { continue }
            let sizes = (before: before.item.size, now: directory.item.size)
            if let difference = differences?[directory.inode],
                Int64(clamping: sizes.now) == Int64(clamping: sizes.before) + 2 * difference.growth
            {
                directory.entries = ScannedEntries(added: difference.added)
                directory.removed = difference.removed
                continue
            }
            var entries = ScannedEntries()
            try scan.tree.forEach(
                from: ItemKey(object: directory.inode, type: UInt8(BTRFS_DIR_INDEX_KEY), offset: 0),
                to: ItemKey(object: directory.inode, type: UInt8(BTRFS_DIR_INDEX_KEY), offset: .max),
                into: buffers.large
            ) { key, data throws(SystemError) in
                try entries.add(number: key.offset, data, after: scan.transaction)
            }
            directory.entries = entries
            directory.removed = try entries.removed(
                from: directory.inode,
                of: scan.parent,
                sizes: sizes,
                buffers
            )
        }
    }
}
