// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
package import Storage
import StoreRoot

/// What a sweep found and did.
package struct SweepReport: Sendable {
    package struct Removed: Hashable, Sendable {
        package var driver: String
        package var id: LayerID
    }

    /// Layers whose data was removed.
    package var layers: [Removed] = []
    /// Containers whose rows were dropped because their writable layer is gone.
    package var containers: [String] = []
    /// Lock files of things that are gone.
    package var locks = 0
    /// What could not be done; each item for itself, the rest went on.
    package var failures: [String] = []

    package init() {}

    package var isEmpty: Bool { layers.isEmpty && containers.isEmpty && locks == 0 && failures.isEmpty }

    mutating func merge(_ other: SweepReport) {
        layers += other.layers
        containers += other.containers
        locks += other.locks
        failures += other.failures
    }

    /// Runs one item; its failure is noted and stops nothing.
    mutating func attempt(_ what: @autoclosure () -> String, _ body: (inout SweepReport) throws -> Void) {
        do {
            try body(&self)
        } catch {
            failures.append("\(what()): \(error)")
        }
    }
}

extension LayerStore {
    /// Sweeps what killed commands and power cuts left: layers without a row, containers without their layer,
    /// lock files without a thing, the drivers' trash.
    ///
    /// Skips what somebody holds; one bad item stops nothing.
    ///
    /// Cost where nothing is left over: a list of each driver's layers and of the locks.
    ///
    /// - Parameter shouldStop: ends the slow part, freeing the trash, early; the next sweep goes on.
    @discardableResult
    package func recover(shouldStop: () -> Bool = { false }) -> SweepReport {
        var report = SweepReport()
        report.attempt("list the drivers") { report in
            for name in try driversWithState() {
                report.attempt("recover driver \(name)") { try recover(driver: name, &$0) }
            }
        }
        report.attempt("drop containers without a layer") { try dropContainersWithoutRow(&$0) }
        report.attempt("sweep the locks") { try sweepLocks(&$0) }
        emptyTrash(&report, shouldStop: shouldStop)
        return report
    }

    /// Frees what removed layers left in the drivers' trash; slow, and needed by nobody at once.
    package func emptyTrash(_ report: inout SweepReport, shouldStop: () -> Bool = { false }) {
        report.attempt("list the drivers") { report in
            for name in try driversWithState() where !shouldStop() {
                report.attempt("empty the trash of \(name)") { _ in
                    try driver(name).emptyTrash(shouldStop: shouldStop)
                }
            }
        }
    }

    private func recover(driver name: String, _ report: inout SweepReport) throws {
        let driver = try driver(name)
        // Rows before data: whatever has a row now had its data before.
        let rows = try root.database.layers().filter { $0.driver == name }
        let known = Set(rows.map(\.id))
        let onDisk = Set(try driver.list())
        for id in onDisk.subtracting(known).sorted() {
            report.attempt("remove layer \(id) of \(name), which nothing names") { report in
                guard let lock = try tryLock(id.rawValue, .exclusive) else { return }
                defer { withExtendedLifetime(lock) {} }
                if try root.database.layer(id) != nil { return }
                try driver.remove(id)
                root.removeLock(id.rawValue)
                report.layers.append(SweepReport.Removed(driver: name, id: id))
            }
        }
        for row in rows where row.kind == .container && !onDisk.contains(row.id) {
            report.attempt("drop the container of layer \(row.id) of \(name), which is gone") { report in
                guard let lock = try tryLock(row.id.rawValue, .exclusive) else { return }
                defer { withExtendedLifetime(lock) {} }
                // Removed in the meantime with its row, or made anew?
                guard try root.database.layer(row.id) != nil, try !driver.list().contains(row.id) else {
                    return
                }
                try root.database.transaction(durable: false, freesSpace: true) { transaction in
                    try deleteRow(row.id, in: transaction)
                    report.containers += try dropContainers(
                        "layer = ?",
                        [.text(row.id.rawValue)],
                        in: transaction
                    )
                }
                root.removeLock(row.id.rawValue)
            }
        }
    }

    private func dropContainersWithoutRow(_ report: inout SweepReport) throws {
        let condition = "layer NOT IN (SELECT id FROM layers)"
        let isNeeded = try root.database.first("SELECT 1 FROM containers WHERE \(condition) LIMIT 1") { _ in
            true
        }
        guard isNeeded == true else { return }
        // Row and layer row are written together, so nobody is in between.
        try root.database.transaction(durable: false, freesSpace: true) { transaction in
            report.containers += try dropContainers(condition, [], in: transaction)
        }
    }

    private func dropContainers(
        _ condition: String,
        _ values: [SQLValue],
        in transaction: Transaction
    ) throws -> [String] {
        let ids = try transaction.query("SELECT id FROM containers WHERE \(condition)", values) { $0.text(0) }
        try transaction.run("DELETE FROM containers WHERE \(condition)", values)
        return ids
    }

    /// Lock files of layers and containers that are gone, and of makings that are over.
    private func sweepLocks(_ report: inout SweepReport) throws {
        var things = Set(
            try root.database.query("SELECT id FROM layers UNION SELECT id FROM containers") { $0.text(0) }
        )
        things.insert(StoreRoot.layoutLock)
        for name in try root.lockNames() where !things.contains(name) {
            report.attempt("remove lock \(name)") { report in
                guard let lock = try tryLock(name, .exclusive) else { return }
                defer { withExtendedLifetime(lock) {} }
                // A maker that ended since has left a thing of this name.
                let isThing = try root.database.first(
                    "SELECT 1 FROM layers WHERE id = ?1 UNION ALL SELECT 1 FROM containers WHERE id = ?1",
                    [.text(name)]
                ) { _ in true }
                if isThing == true { return }
                root.removeLock(name)
                report.locks += 1
            }
        }
    }
}
