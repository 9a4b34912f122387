// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

extension DeviceMapperDriver {
    package func status() throws -> [(name: String, value: String)] {
        try doing("look at \(home)") {
            guard let record = try pool.record() else { return [("Pool", "not made yet")] }
            var pairs = [
                ("Pool", try pool.name(of: record)),
                ("Pool on", record.backing.description),
                ("Block size", "\(record.blockSectors * 512)"),
                ("Base device size", "\(record.baseSectors * 512)"),
                ("Backing filesystem", record.fileSystem.rawValue),
            ]
            pairs += changesStatus(record)
            guard let status = try poolStatus(record, flushes: true) else {
                return pairs + [("Pool state", "not running")]
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
        } else if case .files = record.backing {
            // The files grow by themselves as long as the disk below has space.
            if let space = fileSpace(record), space < 256 << 20 {
                lines.append("the disk of the thin pool's files has \(space) bytes left")
            }
        } else if status.usedData * 100 >= status.totalData * 80 {
            lines.append("\(status.usedData * 100 / status.totalData)% of the thin pool's data space is used")
        }
        if status.usedMetadata * 100 >= status.totalMetadata * 80 {
            lines.append(
                "\(status.usedMetadata * 100 / status.totalMetadata)% of the thin pool's metadata space is used"
            )
        }
        return lines
    }
}

extension DeviceMapperDriver: Advising {
    /// Once, before the pool is made, what its files cost; later, what is about to go wrong with it.
    package var advice: [String] {
        guard let record = try? pool.record() else {
            guard case .files = pool.options.backing else { return [] }
            return [
                "storage driver devicemapper: the thin pool is made of two sparse files in \(pool.directory): good for "
                    + "trying out, slower than disks of its own (--storage-opt dm.datadev=, dm.metadatadev= or dm.thinpooldev=)"
            ]
        }
        guard let status = try? poolStatus(record, flushes: false) else { return [] }
        return warnings(record, status).map { "storage driver devicemapper: \($0)" }
    }
}
