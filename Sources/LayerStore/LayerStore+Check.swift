// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
package import Storage
import StoreRoot
import SystemPackage

/// One thing that `check` found wrong.
package struct CheckFinding: Sendable {
    package enum Problem: String, Sendable {
        /// A row whose data is gone.
        case missingData
        /// A row whose parent has no row.
        case missingParent
        /// Data that no row names.
        case unnamedData
        /// The content is not what was recorded, or not what the blob says.
        case wrongContent
        /// Nothing to compare with: no recorded digest and no blob.
        case unverifiable
        /// It could not be looked at.
        case unreadable

        /// Whether a good copy in its place would cure it.
        package var isDamage: Bool { self == .missingData || self == .wrongContent }
    }

    package var problem: Problem
    package var driver: String
    /// `nil` if it is about the driver as a whole.
    package var layer: LayerID?
    package var detail: String
    package var isRepaired = false
    /// Whether a repair found nothing to make the layer from.
    package var isBeyondRepair = false

    init(_ problem: Problem, _ driver: String, _ layer: LayerID?, _ detail: String) {
        self.problem = problem
        self.driver = driver
        self.layer = layer
        self.detail = detail
    }
}

extension LayerStore {
    /// Verifies rows against disk, and each sealed layer against its content, from the base up.
    ///
    /// What proves a layer whole is the digest of the tar of its changes. For layers that were made here it was recorded;
    /// for others the blob is unpacked once more beside the layer, both are compared, and the digest is recorded. Cost:
    /// one read of all layers, and for those an unpack. Nothing is locked against use meanwhile.
    ///
    /// - Parameters:
    ///   - isRepairing: puts a good copy, made from the blob or another driver's copy, in the place of a damaged image
    ///     layer, unless a running container stands on it; removes data that nothing names.
    ///   - initEntries: what an init layer holds, as for `initLayer`; `nil`: they are not repaired.
    ///   - source: the blob of the layer with this DiffID; `nil` if it is not stored.
    package func check(
        isRepairing: Bool,
        cancelled: @escaping @Sendable () -> Bool = { false },
        initEntries: ((CInt?) throws -> [LayerEntry])? = nil,
        source: @escaping (Digest) throws -> LayerStream?
    ) throws -> [CheckFinding] {
        let checker = LayerCheck(
            store: self,
            initEntries: initEntries,
            source: source,
            stop: StopSwitch(cancelled)
        )
        var findings: [CheckFinding] = []
        var bad: Set<LayerID> = []
        for name in Set(try layers().map(\.driver)).union(try driversWithState()).sorted() {
            do {
                findings += try checker.unnamedData(of: name, isRepairing: isRepairing)
            } catch {
                findings.append(CheckFinding(.unreadable, name, nil, "\(error)"))
            }
        }
        let rows = try root.database.snapshot { try depthOrder($0.layers()) }
        for row in rows {
            var verdict: CheckFinding?
            do {
                verdict = try checker.verify(row, isParentBad: row.parent.map { bad.contains($0) } ?? false)
                if isRepairing, verdict?.problem.isDamage == true {
                    let isRepaired = try checker.repair(row)
                    verdict?.isRepaired = isRepaired
                    verdict?.isBeyondRepair = !isRepaired
                }
            } catch {
                let failure = error as? StorageError
                if failure?.code == .interrupted { throw error }
                // To compare it, its blob is unpacked beside it: that there is no room for it says nothing of the layer.
                if failure?.code == .noSpace || failure?.errno == .readOnlyFileSystem, verdict == nil {
                    findings.append(CheckFinding(.unverifiable, row.driver, row.id, "not compared: \(error)"))
                    continue
                }
                let before = verdict.map { "\($0.detail); " } ?? ""
                verdict = CheckFinding(
                    verdict?.problem ?? .unreadable,
                    row.driver,
                    row.id,
                    "\(before)\(error)"
                )
            }
            guard let verdict else { continue }
            findings.append(verdict)
            if !verdict.isRepaired { bad.insert(row.id) }
        }
        // What layers were compared with, and what repairs replaced.
        var sweep = SweepReport()
        emptyTrash(&sweep, shouldStop: cancelled)
        sweep.failures.forEach(warn)
        return findings
    }
}
