// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage
import SystemPackage

extension BtrfsDriver: LayerSnapshotting {
    /// - Returns: `nil` for a layer with a limit (what it shares with a snapshot no longer counts), one with subvolumes of its
    ///   own (a snapshot shows them empty), one that something was made anew for, and one that stands on nothing.
    package func snapshot(
        _ source: LayerID,
        over parents: LayerChain,
        as id: LayerID,
        over base: LayerChain,
        isFinal: Bool
    ) throws -> ChangeSet? {
        try doing("copy layer \(source) (btrfs)") {
            let live = try open(source)
            guard let descent = try descent(of: source, over: parents, from: base),
                try !quota.limits(source), try !hasSubvolumes(live.raw),
                try snapshot(live.raw, as: id, isFinal: isFinal)
            else { return nil }
            do {
                if let changes = try changes(ofSnapshot: id, descent), try !hasSubvolumes(live.raw) {
                    try lineage.write(descent.record, for: id)
                    return changes
                }
            } catch {
                // The first failure is the one to report; what stays is garbage that no row names.
                try? remove(id)
                throw error
            }
            try remove(id)
            return nil
        }
    }

    /// How a layer came from one that is below it.
    private struct Descent {
        /// The layer's direct parent, and the transaction after which it parted from that.
        var parent: LayerID
        var transaction: UInt64
        var record: Lineage.Record
    }

    /// `nil` unless each is a snapshot of the one below it, as that still is.
    private func descent(of id: LayerID, over parents: LayerChain, from base: LayerChain) throws -> Descent? {
        guard let base = base.top, let parent = parents.top else { return nil }
        let own = try info(id)
        var child = own
        for id in parents.ids.reversed() {
            let next = try info(id)
            guard child.isSnapshot(of: next) else { return nil }
            if id == base {
                let record = Lineage.Record(origin: own.uuid, base: next.uuid, transaction: child.made)
                return Descent(parent: parent, transaction: own.made, record: record)
            }
            child = next
        }
        return nil
    }

    private func info(_ id: LayerID) throws -> Subvolume.Info {
        let tree = try open(id)
        return try Subvolume.info(tree.raw)
    }

    private func hasSubvolumes(_ tree: CInt) throws(SystemError) -> Bool {
        try !Subvolume.nested(in: Subvolume.info(tree).id, on: tree).isEmpty
    }

    /// - Returns: whether it can be done.
    private func snapshot(_ tree: CInt, as id: LayerID, isFinal: Bool) throws -> Bool {
        do throws(SystemError) {
            try Subvolume.snapshot(tree, as: id.rawValue, below: layers.raw, readOnly: isFinal)
            return true
        } catch {
            switch error.errno {
            // The machine swaps to a file in it.
            case .textFileBusy: return false
            case .fileExists: throw taken(id)
            default: throw error
            }
        }
    }

    /// `nil` where there is more to it than a layer can say.
    private func changes(ofSnapshot id: LayerID, _ descent: Descent) throws -> ChangeSet? {
        let tree = SharedFD(try view(id))
        let parent = try open(descent.parent)
        let found = try changes(of: tree.raw, asIn: tree.raw, over: parent.raw, after: descent.transaction)
        if found.hasProtected { return nil }
        return ChangeSet(changes: found.changes, tree: tree, form: form)
    }
}
