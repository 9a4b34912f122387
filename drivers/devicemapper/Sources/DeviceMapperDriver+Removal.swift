// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
import SystemPackage

extension DeviceMapperDriver {
    package func remove(_ id: LayerID) throws {
        try doing("remove layer \(id) (devicemapper)") {
            do throws(SystemError) {
                try Files.rename(
                    pool.layerPath(id.rawValue),
                    to: home.appending("trash/\(id).\(UInt64.random(in: 0...UInt64.max))")
                )
            } catch {
                if error.errno != .noSuchFileOrDirectory { throw error }
            }
        }
    }

    package func emptyTrash(shouldStop: () -> Bool) throws {
        try doing("empty the trash of storage driver devicemapper") {
            let trash = try Files.openDirectory(home.appending("trash"))
            var failure: (any Error)?
            do { try pool.clearLeftovers() } catch { failure = error }
            for entry in try Files.list(trash.raw) {
                if shouldStop() { return }
                do { try delete(entry.name.printable) } catch { failure = failure ?? error }
            }
            if let failure { throw failure }
        }
    }

    /// Deletes the device of a record in the trash.
    private func delete(_ name: String) throws {
        let path = home.appending("trash/\(name)")
        try pool.locked { pool in
            // Another process may have been faster.
            guard try Files.status(path) != nil else { return }
            guard let record = LayerRecord(try Files.contents(path, limit: 4096)) else {
                // Nobody knows which device it was; the sweep at the pool's next start finds it.
                try Files.unlink(path)
                return
            }
            let layer = name.split(separator: ".").first.map(String.init) ?? name
            let device = ThinDevice(layer, record, pool.record, pool: pool.device.text)
            do throws(SystemError) {
                // Others wait for the pool meanwhile.
                try device.waitUntilGone(milliseconds: 300)
            } catch {
                throw error.errno == .resourceBusy
                    ? Holders.error("delete layer \(layer)", device.name) : error
            }
            if case .files = pool.record.backing {
                // Only returns space to the file system below; the pool has it back in any case.
                let ranges = (try? pool.ownRanges(of: record)) ?? [0..<record.sectors * 512]
                _ = try? device.discard(ranges, in: self.pool.directory)
                try device.waitUntilGone()
            }
            // The record says what to do until it is done.
            try pool.delete(record.device)
            try Files.unlink(path)
        }
    }
}
