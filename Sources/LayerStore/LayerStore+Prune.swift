// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import StoreRoot

extension LayerStore {
    /// Removes the image and init layers that no image, container or plain layer needs, and recovers what is left over.
    ///
    /// Layers that somebody builds on at this moment stay. The rows go in one durable transaction, then the data.
    ///
    /// - Parameters:
    ///   - isDryRun: only says what would go.
    ///   - waits: returns only when the space is free, where a driver's file system frees it later.
    ///   - shouldStop: ends the slow part, freeing the trash, early.
    package func prune(
        isDryRun: Bool = false,
        waits: Bool = false,
        shouldStop: () -> Bool = { false }
    ) -> SweepReport {
        var report = SweepReport()
        report.attempt("remove unused layers") { report in
            if isDryRun {
                let unused = try root.database.snapshot { try unusedLayers($0) }
                report.layers = unused.map { SweepReport.Removed(driver: $0.driver, id: $0.id) }
            } else {
                report = try removeUnused()
            }
        }
        if !isDryRun {
            report.merge(recover(shouldStop: shouldStop))
            if waits { waitUntilFreed(&report, shouldStop: shouldStop) }
            root.restoreReserve()
        }
        return report
    }

    /// Returns when what was removed is free: some file systems give space out again only once the removal is on disk
    /// (btrfs), and some drivers free it later.
    ///
    /// Failures are left to the next sweep.
    package func settleSpace(shouldStop: () -> Bool = { false }) {
        var report = SweepReport()
        waitUntilFreed(&report, shouldStop: shouldStop)
        try? root.syncFileSystem()
    }

    /// Keeps space back again, for removing things on a full disk, if that was used.
    ///
    /// After something was removed.
    package func restoreReserve(shouldStop: () -> Bool = { false }) {
        if root.hasReserve { return }
        settleSpace(shouldStop: shouldStop)
        root.restoreReserve()
    }

    private func waitUntilFreed(_ report: inout SweepReport, shouldStop: () -> Bool) {
        report.attempt("list the drivers") { report in
            for name in try driversWithState() where !shouldStop() {
                report.attempt("wait for the space of \(name)") { _ in
                    guard let driver = try driver(name) as? any DeferredFreeing else { return }
                    try driver.waitUntilFreed(shouldStop: shouldStop)
                    // What could not go before.
                    try driver.emptyTrash(shouldStop: shouldStop)
                }
            }
        }
    }

    /// Removes the image and init layers that nothing needs; quick, since their data only moves to the trash.
    @discardableResult
    package func removeUnused() throws -> SweepReport {
        var report = SweepReport()
        // From the base up, as everybody locks; what somebody holds stays, and so does what lies below it.
        var locks: [LayerID: HeldLock] = [:]
        for row in try root.database.snapshot({ try unusedLayers($0) }) {
            locks[row.id] = try tryLock(row.id.rawValue, .exclusive)
        }
        if locks.isEmpty { return report }
        let gone = try root.database.transaction(durable: isDurable, freesSpace: true) { transaction in
            let gone = try removable(transaction, holding: Set(locks.keys))
            for row in gone {
                try transaction.run("DELETE FROM layers WHERE id = ?", [.text(row.id.rawValue)])
            }
            return gone
        }
        for row in gone.reversed() {
            report.attempt("remove layer \(row.id) of \(row.driver)") { report in
                try driver(row.driver).remove(row.id)
                root.removeLock(row.id.rawValue)
                report.layers.append(SweepReport.Removed(driver: row.driver, id: row.id))
            }
        }
        // Lock files that only this sweep made.
        for (id, lock) in locks where !gone.contains(where: { $0.id == id }) {
            root.removeLock(lock.name)
        }
        return report
    }

    /// Of the unused layers those whose locks we hold, without the ancestors of any that stays.
    private func removable(_ transaction: Transaction, holding held: Set<LayerID>) throws -> [LayerRow] {
        let unused = try unusedLayers(transaction)
        let parents = Dictionary(unused.map { ($0.id, $0.parent) }, uniquingKeysWith: { first, _ in first })
        var staying: Set<LayerID> = []
        for row in unused where !held.contains(row.id) {
            var next: LayerID? = row.id
            while let id = next, staying.insert(id).inserted { next = parents[id] ?? nil }
        }
        return unused.filter { !staying.contains($0.id) }
    }

    /// Image and init layers that are no ancestors of a container or plain layer and that no image names; base first.
    private func unusedLayers(_ reader: Transaction) throws -> [LayerRow] {
        let rows = try reader.layers()
        let byID = Dictionary(rows.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let named = Set(try reader.query("SELECT DISTINCT chain_id FROM image_layers") { $0.text(0) })
        var needed: Set<LayerID> = []
        func need(_ row: LayerRow) {
            var next: LayerRow? = row
            while let row = next, needed.insert(row.id).inserted { next = row.parent.flatMap { byID[$0] } }
        }
        for row in rows {
            switch row.kind {
            case .container, .plain: need(row)
            case .image: if let chainID = row.chainID, named.contains(chainID.description) { need(row) }
            case .`init`: break
            }
        }
        // An init layer lives with its image: making it again would cost the next container a sync.
        for row in rows where row.kind == .`init` {
            guard let parent = row.parent, needed.contains(parent) else { continue }
            needed.insert(row.id)
        }
        return depthOrder(rows).filter { !needed.contains($0.id) }
    }

    /// The layers so that each comes after what it stands on.
    func depthOrder(_ rows: [LayerRow]) -> [LayerRow] {
        let byID = Dictionary(rows.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var depths: [LayerID: Int] = [:]
        func depth(_ row: LayerRow) -> Int {
            var path: [LayerID] = []
            var next: LayerRow? = row
            var base = 0
            while let row = next, path.count <= byID.count {
                if let known = depths[row.id] {
                    base = known + 1
                    break
                }
                path.append(row.id)
                next = row.parent.flatMap { byID[$0] }
            }
            for (offset, id) in path.reversed().enumerated() { depths[id] = base + offset }
            return depths[row.id] ?? 0
        }
        return rows.map { ($0, depth($0)) }.sorted { $0.1 < $1.1 }.map(\.0)
    }
}
