// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys

/// What may differ between two ext4 file systems of which one began as a snapshot of the other, found from the blocks that
/// are no longer shared.
///
/// Whatever happens to a file changes its inode: its change time at least, which nobody can set. So only the changed
/// blocks of the inode tables are looked at, and in them the inodes that are not the same byte for byte.
/// - A directory that both have: names in it may have come or gone, and are compared.
/// - A file that both have: it is compared under the names that it had. Names that it was given since are in a directory
///   that changed.
/// - What only one has: its name is in a directory that changed.
struct BlockCandidates {
    private let parent: NameFinder
    private let tree: NameFinder
    /// Inodes that are not the same in both.
    let inodes: [UInt32]

    /// - Parameters:
    ///   - blocks: which of the devices' blocks differ.
    ///   - blockSize: of these, in bytes.
    init(parent: DiskReader, tree: DiskReader, blocks: [UInt64], blockSize: UInt64) throws {
        let images = (try Ext4Image(parent), try Ext4Image(tree))
        guard images.0.inodesPerGroup == images.1.inodesPerGroup, images.0.inodeSize == images.1.inodeSize,
            images.0.inodeTables.elementsEqual(images.1.inodeTables.prefix(images.0.inodeTables.count))
        else { throw DiskDamage("its file system is laid out otherwise than its parent's") }
        self.parent = NameFinder(images.0)
        self.tree = NameFinder(images.1)
        inodes = try Self.changedInodes(images.0, images.1, (parent, tree), blocks, blockSize)
    }

    private static func changedInodes(
        _ parent: Ext4Image,
        _ tree: Ext4Image,
        _ disks: (parent: DiskReader, tree: DiskReader),
        _ blocks: [UInt64],
        _ blockSize: UInt64
    ) throws -> [UInt32] {
        let unit = UInt64(Ext4Image.blockSize)
        let tables = tree.inodeTables.enumerated().map { (start: $1, group: UInt32($0)) }.sorted {
            $0.start < $1.start
        }
        var changed: [UInt32] = []
        for block in blocks {
            let (first, end) = (
                block * blockSize / unit, min((block + 1) * blockSize / unit, tree.blockCount)
            )
            // The last table that begins before the end, and those before it that reach into the range.
            var index = tables.partitioningIndex { $0.start >= end } - 1
            while index >= 0, tables[index].start + tree.blocksPerTable > first {
                let table = tables[index]
                let from = max(first, table.start)
                let to = min(end, table.start + tree.blocksPerTable)
                let isNew = Int(table.group) >= parent.inodeTables.count
                let count = Int((to - from) * unit)
                let new = try disks.tree.read(at: from * unit, count: count).bytes
                let old =
                    isNew
                    ? [UInt8](repeating: 0, count: count)
                    : try disks.parent.read(at: from * unit, count: count).bytes
                let base =
                    table.group * tree.inodesPerGroup + UInt32(from - table.start) * tree.inodesPerBlock + 1
                differences(old, new, size: tree.inodeSize) { changed.append(base + UInt32($0)) }
                index -= 1
            }
        }
        return changed.sorted()
    }

    /// Calls `body` with the index of each piece of `size` bytes that differs.
    private static func differences(_ old: [UInt8], _ new: [UInt8], size: Int, _ body: (Int) -> Void) {
        old.withUnsafeBytes { one in
            new.withUnsafeBytes { two in
                guard let one = one.baseAddress, let two = two.baseAddress else { return }
                for index in 0..<(min(old.count, new.count) / size)
                where memcmp(one + index * size, two + index * size, size) != 0 {
                    body(index)
                }
            }
        }
    }

    /// The candidates as the comparison of trees takes them.
    func candidates() throws -> ComparisonCandidates {
        let scope = ComparisonScope()
        var files: Set<UInt32> = []
        var linked: Set<UInt32> = []
        // The first inodes are the file system's own, but for the root directory.
        for number in inodes where number > 10 || number == Ext4Image.rootInode {
            let new = try tree.image.inode(number)
            let old = number <= parent.image.inodeCount ? try parent.image.inode(number) : nil
            if new.isInUse, !new.isDirectory, new.links > 1 { linked.insert(number) }
            guard new.isInUse, let old, old.isInUse else { continue }
            if new.isDirectory, old.isDirectory {
                if let path = try tree.path(ofDirectory: number) {
                    insert(path, in: scope).comparesNames = true
                }
            } else {
                files.insert(number)
            }
        }
        try parent.find(files)
        try tree.find(linked)
        for number in files {
            for path in try parent.paths(of: number) { insert(path, in: scope) }
        }
        return ComparisonCandidates(
            root: scope,
            parentPaths: { try parent.paths(of: UInt32(truncatingIfNeeded: $0)) },
            treePaths: { try tree.paths(of: UInt32(truncatingIfNeeded: $0)) }
        )
    }

    @discardableResult
    private func insert(_ path: TreePath, in scope: ComparisonScope) -> ComparisonScope {
        path.components.reduce(scope) { $0.insert($1) }
    }
}

extension Array {
    /// The first index whose element satisfies `predicate`, which all after it do too.
    fileprivate func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
