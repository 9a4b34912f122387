// SPDX-License-Identifier: Apache-2.0

/// Reads an ext4 file system from its disk: inodes, and the names in directories.
///
/// For file systems as `FileSystemMaker` makes them; any other feature, and whatever is not as it should be, is a
/// `DiskDamage`. What is read may be hostile, or be changing: every number is checked, nothing is believed twice.
final class Ext4Image {
    static let blockSize = 4096
    static let rootInode: UInt32 = 2
    /// Features whose meaning the reader knows: filetype, extents, 64bit, flex_bg, checksum seed.
    private static let knownIncompatible: UInt32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x4
    private static let extentsFlag: UInt32 = 0x80000

    private let disk: DiskReader
    let inodesPerGroup: UInt32
    let inodeSize: Int
    let inodeCount: UInt32
    let blockCount: UInt64
    private let groupsPerFlex: UInt32
    /// Where each group's inode table begins.
    let inodeTables: [UInt64]
    /// How many inodes of each group were ever used, and how many are directories.
    private let usedInodes: [UInt32]
    private let usedDirectories: [UInt32]
    private var tableCache: [UInt64: DiskBytes] = [:]

    init(_ disk: DiskReader) throws {
        self.disk = disk
        let superblock = try disk.read(at: 1024, count: 1024)
        guard superblock.u16(56) == 0xEF53, superblock.u32(24) == 2 else {
            throw DiskDamage("it has no ext4 superblock with blocks of 4 KiB")
        }
        let incompatible = superblock.u32(96)
        guard incompatible & ~Self.knownIncompatible == 0 else {
            throw DiskDamage("its ext4 has unknown features (\(String(incompatible, radix: 16)))")
        }
        let hasWide = incompatible & 0x80 != 0
        inodeCount = superblock.u32(0)
        inodesPerGroup = superblock.u32(40)
        inodeSize = Int(superblock.u16(88))
        blockCount = UInt64(superblock.u32(4)) | (hasWide ? UInt64(superblock.u32(336)) << 32 : 0)
        groupsPerFlex = 1 << min(16, UInt32(superblock.bytes[372]))
        let blocksPerGroup = superblock.u32(32)
        let descriptorSize = hasWide ? Int(superblock.u16(254)) : 32
        guard inodesPerGroup > 0, blocksPerGroup > 0, inodeSize >= 128, inodeSize <= Self.blockSize,
            Self.blockSize % inodeSize == 0, descriptorSize >= 32, descriptorSize <= 1024, blockCount > 0,
            superblock.u32(20) == 0
        else { throw DiskDamage("its ext4 superblock is malformed") }
        let groups = (blockCount + UInt64(blocksPerGroup) - 1) / UInt64(blocksPerGroup)
        guard groups <= 1 << 22, groups * UInt64(inodesPerGroup) == UInt64(inodeCount) else {
            throw DiskDamage("its ext4 superblock is malformed")
        }
        let descriptors = try disk.read(at: UInt64(Self.blockSize), count: Int(groups) * descriptorSize)
        let (lastBlock, tableBlocks) = (blockCount, Int(inodesPerGroup) * inodeSize / Self.blockSize)
        let perGroup = inodesPerGroup
        func wide(_ group: Int, _ low: Int, _ high: Int) -> UInt32 {
            let offset = group * descriptorSize
            let rest = descriptorSize >= 64 ? UInt32(descriptors.u16(offset + high)) << 16 : 0
            return UInt32(descriptors.u16(offset + low)) | rest
        }
        usedInodes = (0..<Int(groups)).map { perGroup - min(perGroup, wide($0, 28, 50)) }
        usedDirectories = (0..<Int(groups)).map { wide($0, 16, 48) }
        inodeTables = try (0..<Int(groups)).map { group in
            let offset = group * descriptorSize
            let low = UInt64(descriptors.u32(offset + 8))
            let table = low | (descriptorSize >= 64 ? UInt64(descriptors.u32(offset + 40)) << 32 : 0)
            guard table > 0, table + UInt64(tableBlocks) <= lastBlock else {
                throw DiskDamage("group \(group) of its ext4 has no inode table")
            }
            return table
        }
    }

    var blocksPerTable: UInt64 { UInt64(inodesPerGroup) * UInt64(inodeSize) / UInt64(Self.blockSize) }
    var inodesPerBlock: UInt32 { UInt32(Self.blockSize / inodeSize) }

    /// Groups that lie together, among which the kernel looks for a place near a directory.
    func flexGroup(of inode: UInt32) -> UInt32 { (inode - 1) / inodesPerGroup / groupsPerFlex }

    // MARK: - Inodes

    /// An inode as it is on disk.
    struct Inode: Sendable {
        let bytes: DiskBytes
        var mode: UInt16 { bytes.u16(0) }
        var links: UInt16 { bytes.u16(26) }
        var generation: UInt32 { bytes.u32(100) }
        var isInUse: Bool { links > 0 && mode != 0 }
        var isDirectory: Bool { isInUse && mode & 0xF000 == 0x4000 }
        var size: UInt64 { UInt64(bytes.u32(4)) | UInt64(bytes.u32(108)) << 32 }
    }

    /// The block of an inode table.
    func tableBlock(_ block: UInt64) throws -> DiskBytes {
        if let cached = tableCache[block] { return cached }
        if tableCache.count > 4096 { tableCache = [:] }
        let bytes = try disk.read(at: block * UInt64(Self.blockSize), count: Self.blockSize)
        tableCache[block] = bytes
        return bytes
    }

    func inode(_ number: UInt32) throws -> Inode {
        guard number > 0, number <= inodeCount else { throw DiskDamage("its ext4 has no inode \(number)") }
        let (group, index) = ((number - 1) / inodesPerGroup, Int((number - 1) % inodesPerGroup))
        let offset = index * inodeSize
        let block = try tableBlock(inodeTables[Int(group)] + UInt64(offset / Self.blockSize))
        return Inode(bytes: DiskBytes(bytes: Array(block.slice(offset % Self.blockSize, inodeSize))))
    }

    /// Calls `body` with each directory of a group until it answers false.
    func eachDirectory(inGroup group: Int, _ body: (UInt32, Inode) throws -> Bool) throws {
        var left = usedDirectories[group]
        let perRead = 64 * Self.blockSize / inodeSize
        let used = Int(usedInodes[group])
        var first = 0
        while first < used, left > 0 {
            let count = min(
                perRead,
                (used - first + Int(inodesPerBlock) - 1) / Int(inodesPerBlock) * Int(inodesPerBlock)
            )
            let place = inodeTables[group] * UInt64(Self.blockSize) + UInt64(first * inodeSize)
            let bytes = try disk.read(at: place, count: count * inodeSize)
            for index in 0..<count where bytes.u16(index * inodeSize) & 0xF000 == 0x4000 {
                let inode = Inode(bytes: DiskBytes(bytes: Array(bytes.slice(index * inodeSize, inodeSize))))
                guard inode.isDirectory else { continue }
                left = left > 0 ? left - 1 : 0
                if try !body(UInt32(group) * inodesPerGroup + UInt32(first + index) + 1, inode) { return }
            }
            first += count
        }
    }

    // MARK: - Directories

    struct Name: Sendable, Hashable {
        var name: [UInt8]
        var inode: UInt32
    }

    /// All names of a directory, `.` and `..` too.
    func names(of directory: Inode) throws -> [Name] {
        guard directory.isDirectory else { throw DiskDamage("an inode is no directory any more") }
        var names: [Name] = []
        for (start, count) in try extents(of: directory) {
            let bytes = try disk.read(at: start * UInt64(Self.blockSize), count: Int(count) * Self.blockSize)
            for block in 0..<Int(count) { try parse(bytes, block * Self.blockSize, into: &names) }
        }
        return names
    }

    private func parse(_ bytes: DiskBytes, _ start: Int, into names: inout [Name]) throws {
        var offset = start
        while offset < start + Self.blockSize {
            let inode = bytes.u32(offset)
            let length = Int(bytes.u16(offset + 4))
            let nameLength = Int(bytes.bytes[offset + 6])
            guard length >= 8, length % 4 == 0, offset + length <= start + Self.blockSize,
                nameLength + 8 <= length
            else { throw DiskDamage("a directory's block is malformed") }
            if inode != 0, nameLength > 0 {
                names.append(Name(name: Array(bytes.slice(offset + 8, nameLength)), inode: inode))
            }
            offset += length
        }
    }

    /// The blocks of a file in the order of the file, as runs.
    private func extents(of inode: Inode) throws -> [(start: UInt64, count: UInt64)] {
        guard inode.bytes.u32(32) & Self.extentsFlag != 0 else {
            throw DiskDamage("a directory has no extents")
        }
        var runs: [(start: UInt64, count: UInt64)] = []
        // A tree of extents is five levels deep at most.
        var pending = [(DiskBytes(bytes: Array(inode.bytes.slice(40, 60))), 5)]
        var total: UInt64 = 0
        while let (node, levels) = pending.popLast() {
            let (count, depth) = (Int(node.u16(2)), Int(node.u16(6)))
            guard node.u16(0) == 0xF30A, depth <= levels, 12 + count * 12 <= node.bytes.count else {
                throw DiskDamage("a directory's extents are malformed")
            }
            for index in 0..<count {
                let offset = 12 + index * 12
                if depth > 0 {
                    let block = UInt64(node.u32(offset + 4)) | UInt64(node.u16(offset + 8)) << 32
                    guard block > 0, block < blockCount else {
                        throw DiskDamage("an extent is outside of the disk")
                    }
                    pending.append(
                        (try disk.read(at: block * UInt64(Self.blockSize), count: Self.blockSize), depth - 1)
                    )
                    continue
                }
                let length = UInt64(node.u16(offset + 4))
                let start = UInt64(node.u32(offset + 8)) | UInt64(node.u16(offset + 6)) << 32
                total += length
                guard length > 0, length <= 32768, start > 0, start + length <= blockCount, total <= 1 << 20
                else {
                    throw DiskDamage("an extent is outside of the disk")
                }
                runs.append((start, length))
            }
        }
        return runs
    }
}
