// SPDX-License-Identifier: Apache-2.0

/// Reads the metadata of a thin pool: which devices there are, and which blocks of the pool each has where.
///
/// The format is the kernel's (drivers/md/dm-thin-metadata.c): a superblock, and B-trees of 4 KiB nodes that are never
/// changed in place. A snapshot shares the nodes of its origin until one of them writes, so the blocks in which two
/// devices differ are found in the nodes that they do not share, at a cost of these.
struct ThinMetadata {
    static let blockSize = 4096
    private static let magic: UInt64 = 27_022_010
    private static let superblockXOR: UInt32 = 160_774
    private static let nodeXOR: UInt32 = 121_107

    private let disk: DiskReader
    /// Sectors of a block of the pool.
    let blockSectors: UInt32
    let transaction: UInt64
    private let mappingRoot: UInt64
    private let detailsRoot: UInt64

    /// Nobody may be changing the metadata meanwhile.
    init(_ disk: DiskReader) throws {
        self.disk = disk
        let block = DiskBytes(bytes: try Self.superblock(of: disk))
        guard block.u64(32) == Self.magic, (1...2).contains(block.u32(40)) else {
            throw DiskDamage("the pool's superblock is none")
        }
        guard block.u32(0) == Self.sum(block, Self.superblockXOR) else {
            throw DiskDamage("the pool's superblock has a wrong checksum")
        }
        transaction = block.u64(48)
        mappingRoot = block.u64(320)
        detailsRoot = block.u64(328)
        blockSectors = block.u32(336)
    }

    /// What says where all else is, in the first block.
    static func superblock(of disk: DiskReader) throws -> [UInt8] {
        try disk.read(at: 0, count: blockSize).bytes
    }

    private static func sum(_ block: DiskBytes, _ xor: UInt32) -> UInt32 {
        CRC32C.update(~0, block.slice(4, blockSize - 4)) ^ xor
    }

    // MARK: - Trees

    private struct Node {
        var isLeaf: Bool
        var keys: [UInt64]
        var values: [UInt64]
    }

    /// - Parameter wide: whether a leaf's values are longer than a number, and of no interest.
    private func node(_ block: UInt64, wide: Bool = false) throws -> Node {
        let (place, overflow) = block.multipliedReportingOverflow(by: UInt64(Self.blockSize))
        if overflow { throw DiskDamage("a node of the pool's metadata is said to be at block \(block)") }
        let bytes = try disk.read(at: place, count: Self.blockSize)
        guard bytes.u64(8) == block, bytes.u32(0) == Self.sum(bytes, Self.nodeXOR) else {
            throw DiskDamage("node \(block) of the pool's metadata has a wrong checksum")
        }
        let flags = bytes.u32(4)
        let (count, most, size) = (Int(bytes.u32(16)), Int(bytes.u32(20)), Int(bytes.u32(24)))
        guard flags == 1 || flags == 2, count <= most, most <= (Self.blockSize - 32) / (8 + size),
            size == 8 || wide && flags == 2
        else { throw DiskDamage("node \(block) of the pool's metadata is malformed") }
        let isLeaf = flags == 2
        return Node(
            isLeaf: isLeaf,
            keys: (0..<count).map { bytes.u64(32 + 8 * $0) },
            values: wide && isLeaf ? [] : (0..<count).map { bytes.u64(32 + 8 * most + 8 * $0) }
        )
    }

    /// Deeper trees than any are cycles.
    private static let deepest = 16

    /// The numbers of all devices.
    func devices() throws -> [UInt32] {
        var found: [UInt32] = []
        var level = [detailsRoot]
        for _ in 0..<Self.deepest where !level.isEmpty {
            var below: [UInt64] = []
            for block in level {
                let node = try node(block, wide: true)
                if node.isLeaf {
                    found += node.keys.map { UInt32(truncatingIfNeeded: $0) }
                } else {
                    below += node.values
                }
            }
            level = below
        }
        return found.sorted()
    }

    /// The root of a device's mappings; `nil` if there is no such device.
    private func root(of device: UInt32) throws -> UInt64? {
        var block = mappingRoot
        for _ in 0..<Self.deepest {
            let node = try node(block)
            guard let index = node.keys.lastIndex(where: { $0 <= UInt64(device) }) else { return nil }
            if node.isLeaf { return node.keys[index] == UInt64(device) ? node.values[index] : nil }
            block = node.values[index]
        }
        throw DiskDamage("the tree of the pool's devices has no end")
    }

    /// In what the mappings of two devices differ.
    struct Difference: Equatable, Sendable {
        /// Blocks of the devices that are not the same block of the pool, in order.
        var blocks: [UInt64] = []
        /// Blocks of the pool that the second device has and the first has not in the same place.
        var added = 0
    }

    func difference(of first: UInt32, and second: UInt32) throws -> Difference {
        guard let one = try root(of: first), let two = try root(of: second) else {
            throw DiskDamage("device \(first) or \(second) is not in the pool's metadata")
        }
        let (old, new) = try unshared(one, two)
        var difference = Difference()
        for (block, place) in new where old[block] != place {
            difference.blocks.append(block)
            difference.added += 1
        }
        for block in old.keys where new[block] == nil { difference.blocks.append(block) }
        difference.blocks.sort()
        return difference
    }

    /// The mappings in the nodes that two trees do not share.
    private func unshared(
        _ one: UInt64,
        _ two: UInt64
    ) throws -> (old: [UInt64: UInt64], new: [UInt64: UInt64]) {
        // Level by level from the leaves' distance, so that what is shared is at the same level of both.
        var levels: ([UInt64], [UInt64]) = ([one], [two])
        var heights = (try height(one), try height(two))
        while heights.0 > heights.1 {
            levels.0 = try levels.0.flatMap { try node($0).values }
            heights.0 -= 1
        }
        while heights.1 > heights.0 {
            levels.1 = try levels.1.flatMap { try node($0).values }
            heights.1 -= 1
        }
        while true {
            let shared = Set(levels.0).intersection(levels.1)
            let nodes = (
                try levels.0.filter { !shared.contains($0) }.map { try node($0) },
                try levels.1.filter { !shared.contains($0) }.map { try node($0) }
            )
            heights.0 -= 1
            if heights.0 < 0 { return (mappings(nodes.0), mappings(nodes.1)) }
            levels = (nodes.0.flatMap(\.values), nodes.1.flatMap(\.values))
        }
    }

    /// How many levels lie below a node.
    private func height(_ root: UInt64) throws -> Int {
        var block = root
        for height in 0..<Self.deepest {
            let node = try node(block)
            if node.isLeaf { return height }
            guard let next = node.values.first else { throw DiskDamage("node \(block) of a tree is empty") }
            block = next
        }
        throw DiskDamage("the tree of a device's blocks has no end")
    }

    private func mappings(_ leaves: [Node]) -> [UInt64: UInt64] {
        var found: [UInt64: UInt64] = [:]
        for leaf in leaves {
            // The lower 24 bits are the time of the mapping.
            for (key, value) in zip(leaf.keys, leaf.values) { found[key] = value >> 24 }
        }
        return found
    }
}
