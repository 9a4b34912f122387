// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
package import Storage
import SystemPackage

/// What a layer changed, and what it occupies.
extension BtrfsDriver {
    package func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try doing("find the changes of layer \(id) (btrfs)") {
            let tree = SharedFD(try open(id))
            let parent = try parents.top.map { SharedFD(try open($0)) }
            return ChangeSet(
                changes: try changes(of: id, tree.raw, parent: parent?.raw),
                tree: tree,
                form: form
            )
        }
    }

    private func changes(of id: LayerID, _ tree: CInt, parent: CInt?) throws -> [Change] {
        guard let parent, let transaction = try divergence(tree, parent) else {
            return try TreeComparison.changes(parent: parent, tree: tree, parentForm: form, treeForm: form)
        }
        let still = try frozen(id, tree)
        let names = InodeNames(in: still.fd)
        let parentNames = InodeNames(in: parent)
        var changed = ChangedInodes(in: still.fd, names: names, after: transaction)
        let candidates = ComparisonCandidates(
            root: try changed.scope(),
            parentPaths: { try parentNames.paths(of: $0) },
            treePaths: { try names.paths(of: $0) },
            sharesContent: { try FileExtents(of: $0, in: parent) == FileExtents(of: $0, in: still.fd) }
        )
        return try TreeComparison.changes(
            parent: parent,
            tree: tree,
            parentForm: form,
            treeForm: form,
            candidates: candidates
        )
    }

    /// The transaction in which the layer was made as a snapshot of its parent; whatever differs was written later.
    ///
    /// - Returns: `nil` if the layer is no snapshot of that subvolume, or that was changed since: then only a walk of
    ///   both tells. So it is over a layer that `system check` has made anew.
    private func divergence(_ tree: CInt, _ parent: CInt) throws(SystemError) -> UInt64? {
        let own = try Subvolume.info(tree)
        let base = try Subvolume.info(parent)
        return own.originUUID == base.uuid && base.changed <= own.made ? own.made : nil
    }

    /// The layer as it is now, in a subvolume that nobody changes: itself, or a snapshot.
    private func frozen(_ id: LayerID, _ tree: CInt) throws(SystemError) -> FrozenSubvolume {
        if try Subvolume.isReadOnly(tree) { return FrozenSubvolume(borrowing: tree) }
        while true {
            let name = temporaryName("changes", id)
            try Subvolume.snapshot(tree, as: name, below: layers.raw, readOnly: true)
            // Who empties the trash takes what nobody has locked, perhaps just before we do.
            guard let opened = try? SharedFD(Subvolume.open(name, below: layers.raw)) else { continue }
            if clinux_flock(opened.raw, LOCK_SH | LOCK_NB) == 0 {
                return FrozenSubvolume(snapshot: opened, name: name, directory: layers)
            }
        }
    }

    /// Cost: the leaves of the tree that were written since the layer was made.
    package func usage(_ id: LayerID) throws -> LayerUsage {
        try doing("measure layer \(id) (btrfs)") { try occupancy(of: id, countsShared: false).own }
    }

    private func occupancy(of id: LayerID, countsShared: Bool) throws -> Occupancy {
        let tree = try open(id)
        // The trees lack what files were given in the last seconds.
        if try !Subvolume.isReadOnly(tree.raw) { try Files.syncFileSystem(of: tree.raw) }
        let info = try Subvolume.info(tree.raw)
        let began = info.originUUID.allSatisfy { $0 == 0 } ? nil : info.made
        return try Occupancy(of: tree.raw, after: began, countsShared: countsShared)
    }
}

extension BtrfsDriver: SharedUsageMeasuring {
    package func sharedBytes(_ id: LayerID) throws -> Int64 {
        try doing("measure layer \(id) (btrfs)") { try occupancy(of: id, countsShared: true).sharedBytes }
    }
}

/// A subvolume that does not change while this is held; a snapshot goes with it.
private final class FrozenSubvolume {
    let fd: CInt
    private let snapshot: (fd: SharedFD, name: String, directory: SharedFD)?

    /// One that is read-only; it stays the caller's.
    init(borrowing fd: CInt) {
        self.fd = fd
        snapshot = nil
    }

    init(snapshot: SharedFD, name: String, directory: SharedFD) {
        fd = snapshot.raw
        self.snapshot = (snapshot, name, directory)
    }

    deinit {
        // What stays is taken with the trash.
        if let snapshot { try? Subvolume.delete(snapshot.name, below: snapshot.directory.raw) }
    }
}
