// SPDX-License-Identifier: Apache-2.0

/// The sizes that a new pool gets.
struct PoolSizes: Sendable, Equatable {
    /// What a layer's file system may hold unless the user says otherwise; as in Docker.
    static let baseSize: Int64 = 10 << 30
    static let blockSectors: UInt64 = 128
    /// Sparse files, so this is a limit and no cost; they grow.
    static let dataSize: Int64 = 16 << 30
    static let largestFirstDataSize: Int64 = 1 << 40
    /// Bytes of the metadata that are no hole.
    static let keptMetadata: Int64 = 16 << 20
    /// The kernel uses no more.
    static let largestMetadata: Int64 = 16_978_542_592

    var blockSectors: UInt64
    var baseSectors: UInt64
    var data: Int64
    var metadata: Int64

    /// - Parameter disk: the bytes of the file system below the files. They grow when a layer is made, not while containers
    ///   write: so that these meet no limit before the disk's, the files are as large from the start.
    init(_ options: PoolOptions, disk: Int64 = 0) {
        blockSectors = options.blockSectors ?? Self.blockSectors
        let base = options.baseSize ?? Self.baseSize
        baseSectors = UInt64(base / 512)
        let least = max(Self.dataSize, base + base / 4, min(disk, Self.largestFirstDataSize))
        data = Self.roundedUp(least, to: Int64(blockSectors) * 512)
        metadata = Self.metadata(forData: data, blockSectors: blockSectors)
    }

    /// Room for the mappings of `data` bytes, each block in about two devices.
    ///
    /// A mapping takes 16 bytes of a node that is half full at worst, and there are bitmaps and reference counts beside.
    static func metadata(forData data: Int64, blockSectors: UInt64) -> Int64 {
        let blocks = data / (Int64(blockSectors) * 512)
        return min(largestMetadata, roundedUp(max(16 << 20, blocks * 64), to: 4 << 20))
    }

    /// The next size of the data file: twice what it is, as often as it takes for `need` and the floor beside what is used.
    static func grown(_ size: Int64, used: Int64, need: Int64, floor: PoolOptions.Floor) -> Int64 {
        var size = size
        repeat { size *= 2 } while size - used < need + floor.amount(of: size) && size < 1 << 46
        return size
    }

    static func roundedUp(_ value: Int64, to unit: Int64) -> Int64 { (value + unit - 1) / unit * unit }
}
