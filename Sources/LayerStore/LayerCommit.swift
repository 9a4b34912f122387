// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// Makes the layer that a commit adds, up to its sealing.
struct LayerCommit {
    /// The layer with all below it, the base first.
    private let rows: [LayerRow]
    /// What the new layer stands on.
    private let image: LayerChain
    private let driver: any StorageDriver
    private let newID: LayerID
    private let stop: StopSwitch

    struct Made {
        var undecided = Undecided()
        var diffID: Digest
        /// Bytes of its files.
        var size: Int64
    }

    init(
        _ rows: [LayerRow],
        _ image: LayerChain,
        _ driver: any StorageDriver,
        _ newID: LayerID,
        _ stop: StopSwitch
    ) {
        self.rows = rows
        self.image = image
        self.driver = driver
        self.newID = newID
        self.stop = stop
    }

    private var id: LayerID { rows[rows.count - 1].id }
    private var below: LayerChain { LayerChain(rows.dropLast().map(\.id)) }

    // MARK: - Applied

    /// Applies the changes over the image.
    func apply() throws -> Made {
        let changes = try committable()
        let sink = HashingSink()
        let tee = TarTee(ChangeStream(changes, label: "changes of layer \(id)"), sink: sink)
        let meter = LayerMeter(tee, stop)
        let undecided = try doing("commit layer \(id)") {
            try ReadAhead.reading(meter, count: changes.changes.count) {
                try driver.apply($0, to: newID, over: driver.appliesOverParent ? image : nil)
            }
        }
        try tee.finish()
        return Made(undecided: undecided, diffID: try sink.digest(), size: meter.size)
    }

    /// The changes without deletions of what only the init layer had: they would hide nothing.
    private func committable() throws -> ChangeSet {
        try doing("find the changes of layer \(id)") {
            let set = try driver.changes(id, over: below)
            if !set.changes.contains(where: { $0.kind == .deleted }) { return set }
            return committable(set, without: try initChanges())
        }
    }

    private func committable(_ set: ChangeSet, without initChanges: [Change]) -> ChangeSet {
        let added = Set(initChanges.lazy.filter { $0.kind == .added }.map(\.path))
        var set = set
        set.changes.removeAll { $0.kind == .deleted && added.contains($0.path) }
        return set
    }

    /// What the init layer directly below changed; nothing if there is none.
    private func initChanges() throws -> [Change] {
        guard let row = rows.dropLast().last, row.kind == .`init` else { return [] }
        return try driver.changes(row.id, over: LayerChain(below.ids.dropLast())).changes
    }

    // MARK: - Copied

    /// Copies the layer as a whole and takes from the copy what is the init layer's.
    ///
    /// - Returns: `nil`, and nothing was made, where that cannot be done: then the changes have to be applied.
    func copy() throws -> Made? {
        guard let driver = driver as? any LayerSnapshotting else { return nil }
        return try doing("commit layer \(id)") {
            let initChanges = try initChanges()
            // It adds empty files and directories, and nothing else can be taken away again.
            let added = initChanges.filter { $0.kind == .added }.map(\.path)
            guard image.ids == Array(below.ids.prefix(image.ids.count)),
                initChanges.allSatisfy({ change in
                    change.kind == .added || added.contains { $0.isWithin(change.path) }
                }),
                let copied = try driver.snapshot(
                    id,
                    over: below,
                    as: newID,
                    over: image,
                    isFinal: added.isEmpty
                )
            else { return nil }
            let set = committable(copied, without: initChanges)
            let tar = try set.tar(label: "changes of layer \(id)", stop)
            try takeAway(added, from: set)
            return Made(diffID: tar.digest, size: tar.size)
        }
    }

    /// Takes from the copy what the init layer added and the layer left as it was.
    private func takeAway(_ added: [TreePath], from set: ChangeSet) throws {
        let listed = Set(set.changes.lazy.map(\.path))
        var left: [LayerEntry] = []
        for path in added where !listed.contains(path) && !left.contains(where: { path.isWithin($0.path) }) {
            if try isThere(path, in: set.tree.raw) { left.append(LayerEntry(path: path, kind: .whiteout)) }
        }
        if left.isEmpty { return }
        let mounted = try driver.mount(newID, over: image, access: .readWrite)
        var applier = TreeApplier(root: mounted.root.raw, form: set.form, label: "init layer")
        _ = try applier.apply(EntryList(left, label: "init layer"))
    }

    /// Whether the directories above it are still what the init layer saw.
    private func isThere(_ path: TreePath, in tree: CInt) throws -> Bool {
        do throws(SystemError) {
            let directory = try Files.openParent(of: path, in: tree)
            return try Files.status(path.name, below: directory.raw) != nil
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels: return false
            default: throw error
            }
        }
    }
}
