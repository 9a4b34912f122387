// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

extension DeviceMapperDriver {
    package func status() throws -> [(name: String, value: String)] {
        try doing("look at \(home)") {
            guard let record = try pool.record() else {
                try pool.refuseLost()
                return [("Pool", "not made yet")]
            }
            var pairs = [
                ("Pool", try pool.name(of: record)),
                ("Pool on", record.backing.description),
                ("Block size", "\(record.blockSectors * 512)"),
                ("Base device size", "\(record.baseSectors * 512)"),
                ("Backing filesystem", record.fileSystem.rawValue),
            ]
            pairs += changesStatus(record)
            guard let status = try poolStatus(record, flushes: true) else {
                return pairs + [("Pool state", "not running: started when a layer is used")]
            }
            let block = Int64(record.blockSectors) * 512
            pairs += [
                ("Pool state", status.mode?.rawValue ?? "failed"),
                ("Data space used", "\(status.usedData * block)"),
                ("Data space total", "\(status.totalData * block)"),
                ("Metadata space used", "\(status.usedMetadata * PoolStatus.metadataBlock)"),
                ("Metadata space total", "\(status.totalMetadata * PoolStatus.metadataBlock)"),
                ("Transaction", "\(status.transaction)"),
            ]
            if let space = fileSpace(record) {
                pairs.append(("Data space the store's disk can give", "\(space)"))
            }
            return pairs + warnings(record, status).map { ("Warning", $0) }
        }
    }

    /// What the kernel says of the pool; `nil` if it is not running.
    private func poolStatus(_ record: PoolRecord, flushes: Bool) throws -> PoolStatus? {
        guard DeviceMapper.isThere else { return nil }
        return try DeviceMapper.status(pool.name(of: record), flushes: flushes).flatMap(PoolStatus.init)
    }

    /// Bytes that the pool's files may still grow into; `nil` where it has none.
    private func fileSpace(_ record: PoolRecord) -> Int64? {
        guard case .files = record.backing else { return nil }
        return (try? Files.space(at: pool.directory)).map { Int64(clamping: $0.free) }
    }

    /// What will go wrong if nothing is done about it.
    func warnings(_ record: PoolRecord, _ status: PoolStatus) -> [String] {
        var lines: [String] = []
        if status.isGivenUp {
            lines.append(
                "the thin pool is \(status.mode?.rawValue ?? "failed"): see the kernel's log, and thin_check"
            )
        }
        if status.mode == .outOfData {
            lines.append(
                "the thin pool is full: what is written to new blocks is lost (remove layers, strata system prune, or "
                    + "enlarge the pool)"
            )
        } else if case .files = record.backing, let space = fileSpace(record), space < 256 << 20 {
            lines.append("the disk of the thin pool's files has \(space) bytes left")
        }
        if status.waitsWhenFull {
            lines.append(
                "when the thin pool is full, whoever writes has to wait (its table lacks error_if_no_space)"
            )
        }
        return lines + shortages(record, status)
    }

    /// What the pool is going to lack, while layers can still be made.
    private func shortages(_ record: PoolRecord, _ status: PoolStatus) -> [String] {
        let (data, metadata) = (Int64(record.blockSectors) * 512, PoolStatus.metadataBlock)
        let floor = pool.options.minimumFree
        let (total, metadataTotal) = (status.totalData * data, status.totalMetadata * metadata)
        let spaces = [
            ("data", total, total - status.usedData * data, floor.amount(of: total)),
            (
                "metadata", metadataTotal, metadataTotal - status.usedMetadata * metadata,
                floor.metadataBlocks(of: status.totalMetadata) * metadata
            ),
        ]
        return spaces.compactMap { what, total, free, floor in
            if free == 0 || free > max(total / 5, floor + total / 10) { return nil }
            var consequence = "no layer is made that leaves less than \(floor)"
            if case .files = record.backing {
                consequence = "it grows when a layer is made, not while containers write"
            }
            return "\(100 - free * 100 / total)% of the thin pool's \(what) space is used, "
                + "\(free) bytes are free: \(consequence)"
        }
    }
}

extension DeviceMapperDriver: Advising {
    /// Once, before the pool is made, what its files cost; later, what is about to go wrong with it.
    package var advice: [String] {
        guard let record = try? pool.record() else {
            guard case .files = pool.options.backing, (try? pool.refuseLost()) != nil else { return [] }
            return [
                "storage driver devicemapper: the thin pool is made of two sparse files in \(pool.directory): good for "
                    + "trying out, slower than disks of its own (--storage-opt dm.datadev=, dm.metadatadev= or dm.thinpooldev=)"
            ]
        }
        guard let status = try? poolStatus(record, flushes: false) else { return [] }
        return warnings(record, status).map { "storage driver devicemapper: \($0)" }
    }
}
