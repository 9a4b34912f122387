// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// What must stay free in a pool, and how much is needed.
struct PoolNeed: Sendable, Equatable {
    /// Bytes.
    var data: Int64
    /// Blocks of 4 KiB.
    var metadata: Int64

    /// For writing `bytes` in a pool with blocks of `blockSize`, in the worst case each mapping in a node of its own way.
    init(bytes: Int64, blockSize: Int64) {
        let blocks = bytes / blockSize + 1
        data = blocks * blockSize
        // Half-full nodes of 16 bytes a mapping; and what one operation copies of the trees and space maps.
        metadata = blocks * 32 / PoolStatus.metadataBlock + 24
    }
}

extension OpenPool {
    private var blockSize: Int64 { Int64(record.blockSectors) * 512 }
    private var freeData: Int64 { (status.totalData - status.usedData) * blockSize }
    private var freeMetadata: Int64 { status.totalMetadata - status.usedMetadata }

    private func metadataFloor(of total: Int64? = nil) -> Int64 {
        pool.options.minimumFree.metadataBlocks(of: total ?? status.totalMetadata)
    }

    /// Sees to it that `bytes` can be written while the floors stay free: the pool grows, or it is refused.
    mutating func ensureSpace(_ bytes: Int64, _ what: @autoclosure () -> String) throws {
        let need = PoolNeed(bytes: bytes, blockSize: blockSize)
        let floor = pool.options.minimumFree.amount(of: status.totalData * blockSize)
        if freeData < need.data + floor || freeMetadata < need.metadata + metadataFloor() {
            try grow(for: need)
        }
        let floorNow = pool.options.minimumFree.amount(of: status.totalData * blockSize)
        if freeData < need.data + floorNow {
            throw StorageError(
                .noSpace,
                "\(what()): the thin pool \(name) has \(freeData) bytes free for data; \(need.data) are needed and "
                    + "\(floorNow) are kept free (dm.min_free_space)",
                remedy: "remove layers (strata system prune) or enlarge the pool"
            )
        }
        if freeMetadata < need.metadata + metadataFloor() {
            throw StorageError(
                .noSpace,
                "\(what()): the thin pool \(name) has \(freeMetadata) of \(status.totalMetadata) blocks free for "
                    + "metadata; \(need.metadata) are needed and \(metadataFloor()) are kept free (dm.min_free_space)",
                remedy: "remove layers (strata system prune) or enlarge the pool's metadata"
            )
        }
        try checkHost(need, what())
    }

    /// A sparse file promises more than the file system below it has.
    private func checkHost(_ need: PoolNeed, _ what: String) throws {
        guard case .files = record.backing else { return }
        let free = Int64(clamping: try Files.space(at: pool.directory).free)
        let wanted = need.data + need.metadata * PoolStatus.metadataBlock + Self.hostReserve
        if free >= wanted { return }
        throw StorageError(
            .noSpace,
            "\(what): the file system of the thin pool's files, \(pool.directory), has \(free) bytes free "
                + "and \(wanted) are needed",
            remedy: "free space there (strata system df, strata system prune)"
        )
    }

    /// For records, rows and the pool's metadata.
    private static let hostReserve: Int64 = 8 << 20

    /// Ranges of bytes of a device that it does not share with its origin.
    ///
    /// Discarding all of a device would cost as much as its image is large.
    func ownRanges(of record: LayerRecord) throws -> [Range<UInt64>] {
        let size = UInt64(blockSize)
        var ranges: [Range<UInt64>] = []
        for block in try lastDifference(of: record.origin, and: record.device).blocks {
            let (start, end) = (block * size, min((block + 1) * size, record.sectors * 512))
            if start >= end { continue }
            if let last = ranges.last, last.upperBound == start {
                ranges[ranges.count - 1] = last.lowerBound..<end
            } else {
                ranges.append(start..<end)
            }
        }
        return ranges
    }

    // MARK: - Growing

    /// Enlarges the pool's files, or takes over what the administrator added to its devices.
    private mutating func grow(for need: PoolNeed) throws {
        if case .pool = record.backing { return }
        if case .files = record.backing { try enlargeFiles(for: need) }
        let devices = try PoolDevices(record, in: pool.directory)
        if devices.dataSize / blockSize <= status.totalData,
            devices.metadataSize / PoolStatus.metadataBlock <= status.totalMetadata
        {
            return
        }
        try doing("enlarge the thin pool \(name)") {
            try DeviceMapper.load(name, devices.table(record))
            try suspending(name) { () throws(SystemError) in }
            record.dataSize = devices.dataSize
            record.metadataSize = devices.metadataSize
            try pool.write(record)
        }
        if let status = try DeviceMapper.status(name).flatMap(PoolStatus.init) { self.status = status }
    }

    private func enlargeFiles(for need: PoolNeed) throws {
        let (floor, used) = (pool.options.minimumFree, status.usedData * blockSize)
        if freeData < need.data + floor.amount(of: status.totalData * blockSize) {
            try enlarge(
                "data",
                to: PoolSizes.grown(record.dataSize, used: used, need: need.data, floor: floor)
            )
        }
        if freeMetadata < need.metadata + metadataFloor() {
            var blocks = status.totalMetadata
            repeat {
                blocks *= 2
            } while blocks - status.usedMetadata < need.metadata + metadataFloor(of: blocks)
            try enlarge("metadata", to: min(blocks * PoolStatus.metadataBlock, PoolSizes.largestMetadata))
        }
    }

    private func enlarge(_ file: String, to size: Int64) throws {
        let path = pool.directory.appending(file)
        let opened = try Files.open(path, O_RDWR | O_NOFOLLOW)
        if try Files.status(of: opened.raw).size < size {
            try system("truncate", path.string) { ftruncate(opened.raw, off_t(size)) }
        }
    }
}

/// A layer's entries on their way into a thin device: before each is written, there is space for it.
final class SpaceGuard: LayerEntrySource {
    private let source: any LayerEntrySource
    private let device: ThinDevice
    private let pool: ThinPool
    private let before: Int64
    /// What was written and is still to be, by the sizes of the entries.
    private var written: Int64 = 0
    private var granted: Int64

    /// How much is asked for at once.
    private static let step: Int64 = 16 << 20

    init(_ source: any LayerEntrySource, _ device: ThinDevice, _ pool: ThinPool, granted: Int64) throws {
        (self.source, self.device, self.pool, self.granted) = (source, device, pool, granted)
        before = try Self.mapped(device)
    }

    /// Bytes of the pool that the device has.
    private static func mapped(_ device: ThinDevice) throws -> Int64 {
        let line = try DeviceMapper.status(device.name)
        return (line?.split(separator: " ").first.flatMap { Int64($0) } ?? 0) * 512
    }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        guard let entry = try source.next() else { return nil }
        // Something of the inode table, of a directory, and the journal.
        written += 1024
        if case .regular(let size) = entry.kind { written += (size + 4095) & ~4095 }
        if written > granted {
            let more = written - granted + Self.step
            let allocated = max(0, try Self.mapped(device) - before)
            let outstanding = max(0, granted - allocated)
            try pool.locked {
                try $0.ensureSpace(outstanding + more, "unpack \(label), entry \(entry.path.shown)")
            }
            granted += more
        }
        return entry
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try source.readContent(body) }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}
