// SPDX-License-Identifier: Apache-2.0

import Images
import LayerDiff
package import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot
import SystemPackage

/// What `prune` did.
package struct PruneReport: Sendable {
    /// As `system prune` prints them.
    package var lines: [String] = []
    /// Bytes that are free again, as far as it is known what they were.
    package var bytes: Int64 = 0
    package var failures: [String] = []
}

/// A line of `system df`.
package struct UsageLine: Sendable {
    package var type: String
    package var count: Int
    package var active: Int
    package var bytes: Int64
    package var reclaimable: Int64
}

package struct DiskUsage: Sendable {
    package var summary: [UsageLine]
    package var layers: [LayerDiskUsage]
}

extension Engine {
    /// Facts on a driver, for `driver info`.
    package func driverInfo(_ name: String) throws -> [(name: String, value: String)] {
        let rows = try layers.layers().filter { $0.driver == name }
        return [("Name", name), ("Layers", "\(rows.count)")]
            + (try layers.driver(name).status())
    }

    /// Removes stopped containers, images without a name (or all that no container uses), and whatever nothing needs.
    ///
    /// - Parameter waits: returns only when the space is free, where a driver's file system frees it later.
    package func prune(allImages: Bool, waits: Bool = false) throws -> PruneReport {
        try removing { try sweep(allImages: allImages, waits: waits) }
    }

    private func sweep(allImages: Bool, waits: Bool) throws -> PruneReport {
        var report = PruneReport()
        let before = try occupied()
        for record in try containers.all() {
            guard let state = try? state(of: record), !state.isRunning else { continue }
            attempt("container \(record.name)", &report) { report in
                try remove(record.id, force: false)
                report.lines.append("Deleted container: \(record.id)")
            }
        }
        try pruneImages(all: allImages, &report)
        let swept = layers.prune(waits: waits, shouldStop: { Interruption.isRequested })
        report.lines += swept.layers.map { "Deleted layer: \($0.driver) \($0.id)" }
        report.failures += swept.failures
        attempt("directories of containers", &report) { report in
            var failures: [String] = []
            let gone = try removeUnnamedDirectories { failures.append("container \($0): \($1)") }
            report.lines += gone.map { "Deleted what was left of container: \($0)" }
            report.failures += failures
        }
        if let hierarchies = CgroupHierarchies.detect() {
            let gone = Cgroup.removeAbandoned(below: "/strata", in: hierarchies)
            report.lines += gone.map { "Deleted abandoned cgroup: \($0)" }
        }
        attempt("blobs", &report) { report in
            let garbage = try images.collectGarbage()
            if garbage.count > 0 { report.lines.append("Deleted \(garbage.count) blobs") }
        }
        // Some file systems (btrfs) give freed space out again only once the freeing is on disk.
        attempt("sync of the store", &report) { _ in try root.syncFileSystem() }
        report.bytes = max(0, before - (try occupied()))
        return report
    }

    private func pruneImages(all: Bool, _ report: inout PruneReport) throws {
        let used = Set(try containers.all().map(\.image))
        for line in try images.list(all: true) {
            let id = "\(line.image.id)"
            guard !used.contains(id), all || line.isNameless else { continue }
            attempt("image \(id)", &report) { report in
                guard let image = try images.image(line.image.id) else { return }
                let removed = try removeImage("\(image.id)", force: true, prune: true)
                report.lines += removed.lines.map { "\($0)" }
            }
        }
    }

    private func attempt(
        _ what: String,
        _ report: inout PruneReport,
        _ body: (inout PruneReport) throws -> Void
    ) {
        do {
            try body(&report)
        } catch {
            report.failures.append("\(what): \(error)")
        }
    }

    private func occupied() throws -> Int64 {
        try diskUsage().summary.reduce(0) { $0 + $1.bytes }
    }

    /// What the store occupies on disk.
    ///
    /// Cost: a walk of all layers.
    package func diskUsage() throws -> DiskUsage {
        let measured = try layers.diskUsage()
        let records = try containers.all()
        let containerLayers = Set(records.map(\.layer))
        let running = Set(try records.filter { try state(of: $0).isRunning }.map(\.layer))
        let own = measured.filter { containerLayers.contains($0.id) }
        let unnamed = measured.filter { $0.row == nil }
        let shared = measured.filter { !containerLayers.contains($0.id) && $0.row != nil }
        let allImages = try images.list(all: true)
        let imageIDs = Set(allImages.map { "\($0.image.id)" })
        let usedImages = imageIDs.intersection(records.map(\.image))
        func sum(_ list: [LayerDiskUsage]) -> Int64 { list.reduce(0) { $0 + $1.usage.bytes } }
        let idle = shared.filter { $0.users == 0 }
        return DiskUsage(
            summary: [
                UsageLine(
                    type: "Images",
                    count: imageIDs.count,
                    active: usedImages.count,
                    bytes: try images.blobs.totalSize(),
                    reclaimable: try images.blobs.size(without: usedImages)
                ),
                UsageLine(
                    type: "Layers",
                    count: shared.count,
                    active: shared.count - idle.count,
                    bytes: sum(shared),
                    reclaimable: sum(idle)
                ),
                UsageLine(
                    type: "Containers",
                    count: records.count,
                    active: running.count,
                    bytes: sum(own),
                    reclaimable: sum(own.filter { !running.contains($0.id) })
                ),
                UsageLine(
                    type: "Left over",
                    count: unnamed.count,
                    active: 0,
                    bytes: sum(unnamed),
                    reclaimable: sum(unnamed)
                ),
            ],
            layers: measured
        )
    }
}
