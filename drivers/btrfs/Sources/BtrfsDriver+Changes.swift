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
            let tree = SharedFD(try view(id))
            let parent = try parents.top.map { SharedFD(try open($0)) }
            return ChangeSet(
                changes: try changes(of: id, tree.raw, parent: parent?.raw),
                tree: tree,
                form: form
            )
        }
    }

    /// A layer's tree to read from, which leaves the access times of a writable one alone: they would be changes.
    func view(_ id: LayerID) throws -> OwnedFD {
        let tree = try open(id)
        if try Subvolume.isReadOnly(tree.raw) { return tree }
        let mount = try detachedMount(id, tree.raw)
        try DetachedMount.set(.readOnly, on: mount.raw)
        return try Files.open(".", below: mount.raw, O_RDONLY | O_DIRECTORY)
    }

    /// - Parameter asItIs: whether it may be read without a snapshot.
    func changes(of id: LayerID, _ tree: CInt, parent: CInt?, asItIs: Bool = true) throws -> [Change] {
        guard let parent, let transaction = try divergence(of: id, tree, parent) else {
            return try TreeComparison.changes(parent: parent, tree: tree, parentForm: form, treeForm: form)
        }
        func changes(asIn still: CInt) throws -> [Change] {
            try self.changes(of: tree, asIn: still, over: parent, after: transaction).changes
        }
        if try Subvolume.isReadOnly(tree) { return try changes(asIn: tree) }
        if asItIs, let found = try atRest(tree, { try changes(asIn: tree) }) { return found }
        let snapshot = try TemporarySnapshot(of: tree, in: layers) { temporaryName("changes", id) }
        return try changes(asIn: snapshot.fd.raw)
    }

    /// What `find` gives for a layer that nobody changes meanwhile.
    ///
    /// A snapshot waits for the disk, and everything in it is new to the kernel's caches.
    ///
    /// - Returns: `nil` where somebody changes it, or so much waits to be written that only the layer's own should be.
    private func atRest(_ tree: CInt, _ find: () throws -> [Change]) throws -> [Change]? {
        let pending = try Subvolume.pending(tree)
        guard let bytes = pending.bytes, bytes <= 16 << 20 else { return nil }
        // Of next to nothing hardly anything is the layer's: it is written meanwhile, and the end shows if that was right.
        let last = try Subvolume.info(tree).changed
        if bytes <= 128 << 10, last < pending.transaction {
            let writing = bytes == 0 ? nil : try? Thread { _ = try? Files.syncFileSystem(of: tree) }
            let found = Result { try find() }
            writing?.join()
            if try Subvolume.settle(tree) == last { return try found.get() }
        }
        guard let state = try Subvolume.settle(tree) else { return nil }
        let found = Result { try find() }
        return try Subvolume.settle(tree) == state ? found.get() : nil
    }

    /// - Parameter still: the tree, or a snapshot of it, which nobody changes.
    func changes(
        of tree: CInt,
        asIn still: CInt,
        over parent: CInt,
        after transaction: UInt64
    ) throws -> (changes: [Change], hasProtected: Bool) {
        let names = InodeNames(in: still)
        let parentNames = InodeNames(in: parent)
        let nested = try !Subvolume.nested(in: Subvolume.info(tree).id, on: tree).isEmpty
        // A snapshot is of one moment; but subvolumes are empty in it, and cannot be told from directories.
        let compared = nested ? tree : still
        let scan = InodeScan(still, over: parent, after: transaction, hasSubvolumes: nested || tree != still)
        var changed = ChangedInodes(scan, names: names)
        let (scope, known, hasProtected, inodes) = try changed.find()
        // Of many it takes a while to give back their memory, for which the comparison need not wait.
        let cleaning = inodes.count < 500 ? nil : try? Thread { withExtendedLifetime(inodes) {} }
        defer { cleaning?.join() }
        let candidates = ComparisonCandidates(
            root: scope,
            known: known,
            parentPaths: { try parentNames.paths(of: $0) },
            treePaths: { try names.paths(of: $0) },
            sharesContent: { try FileExtents(of: $0, in: parent) == FileExtents(of: $0, in: still) }
        )
        let changes = try TreeComparison.changes(
            parent: parent,
            tree: compared,
            parentForm: form,
            treeForm: form,
            candidates: candidates
        )
        return (changes, hasProtected)
    }

    /// The transaction after which the layer parted from its parent; whatever differs was written later.
    ///
    /// - Returns: `nil` if the layer does not descend from that subvolume, or that was changed since: then only a walk of
    ///   both tells. So it is over a layer that `system check` has made anew.
    private func divergence(
        of id: LayerID,
        _ tree: CInt,
        _ parent: CInt
    ) throws(SystemError) -> UInt64? {
        let own = try Subvolume.info(tree)
        let base = try Subvolume.info(parent)
        if own.isSnapshot(of: base) { return own.made }
        let transaction = try lineage.transaction(of: id, origin: own.originUUID, base: base.uuid)
        return transaction.flatMap { base.changed <= $0 ? $0 : nil }
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
        let parted = try lineage.transaction(of: id, origin: info.originUUID, base: nil)
        let began = info.originUUID.allSatisfy { $0 == 0 } ? nil : parted ?? info.made
        return try Occupancy(of: tree.raw, after: began, countsShared: countsShared)
    }
}

extension BtrfsDriver: SharedUsageMeasuring {
    package func sharedBytes(_ id: LayerID) throws -> Int64 {
        try doing("measure layer \(id) (btrfs)") { try occupancy(of: id, countsShared: true).sharedBytes }
    }
}

/// A layer as it was at one moment; goes with this.
private final class TemporarySnapshot {
    let fd: SharedFD
    private let name: String
    private let directory: SharedFD

    init(of tree: CInt, in directory: SharedFD, _ newName: () -> String) throws(SystemError) {
        while true {
            let name = newName()
            try Subvolume.snapshot(tree, as: name, below: directory.raw, readOnly: true)
            // Who empties the trash takes what nobody has locked, perhaps just before we do.
            let opened: SharedFD
            do throws(SystemError) {
                opened = SharedFD(try Subvolume.open(name, below: directory.raw))
            } catch {
                if error.errno == .noSuchFileOrDirectory { continue }
                try? Subvolume.deleteAlone(name, below: directory.raw)
                throw error
            }
            if clinux_flock(opened.raw, LOCK_SH | LOCK_NB) == 0 {
                fd = opened
                self.name = name
                self.directory = directory
                return
            }
        }
    }

    deinit {
        // What stays is taken with the trash.
        try? Subvolume.delete(name, below: directory.raw)
    }
}
