// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import StoreRoot

/// How `LayerStore.check` looks at one layer, and mends it.
final class LayerCheck {
    let store: LayerStore
    let initEntries: ((CInt?) throws -> [LayerEntry])?
    let source: (Digest) throws -> LayerStream?
    let stop: StopSwitch

    init(
        store: LayerStore,
        initEntries: ((CInt?) throws -> [LayerEntry])?,
        source: @escaping (Digest) throws -> LayerStream?,
        stop: StopSwitch
    ) {
        self.store = store
        self.initEntries = initEntries
        self.source = source
        self.stop = stop
    }

    func unnamedData(of name: String, isRepairing: Bool) throws -> [CheckFinding] {
        let driver = try store.driver(name)
        // Data before rows: what is being made appears in both or is locked.
        let onDisk = Set(try driver.list())
        let known = Set(try store.layers().filter { $0.driver == name }.map(\.id))
        return try onDisk.subtracting(known).sorted().compactMap { id in
            guard let lock = try store.tryLock(id.rawValue, .exclusive) else { return nil }
            defer { withExtendedLifetime(lock) {} }
            if try store.root.database.layer(id) != nil { return nil }
            var finding = CheckFinding(.unnamedData, name, id, "nothing names it; system prune removes it")
            if isRepairing {
                try driver.remove(id)
                store.root.removeLock(id.rawValue)
                finding.isRepaired = true
            }
            return finding
        }
    }

    /// - Returns: `nil` for a whole layer, and for one that somebody removes meanwhile: the row goes first, and what is seen of
    ///   the rest then says nothing.
    func verify(_ snapshot: LayerRow, isParentBad: Bool) throws -> CheckFinding? {
        func isGone() throws -> Bool { try store.root.database.layer(snapshot.id) == nil }
        do {
            guard let finding = try look(at: snapshot, isParentBad) else { return nil }
            return try isGone() ? nil : finding
        } catch {
            if try isGone() { return nil }
            throw error
        }
    }

    private func look(at snapshot: LayerRow, _ isParentBad: Bool) throws -> CheckFinding? {
        try stop.check()
        // Its parent may have been repaired, and so have another id, since the list was made.
        guard let row = try store.root.database.layer(snapshot.id) else { return nil }
        let driver = try store.driver(row.driver)
        if let parent = row.parent, try store.root.database.layer(parent) == nil {
            return CheckFinding(.missingParent, row.driver, row.id, "its parent \(parent) has no row")
        }
        guard try driver.holds(row.id) else {
            return CheckFinding(.missingData, row.driver, row.id, "its data is gone")
        }
        if row.kind == .container || !row.isSealed && row.kind == .plain { return nil }
        if isParentBad {
            return CheckFinding(.unverifiable, row.driver, row.id, "it stands on a layer that is not whole")
        }
        return try compare(row, driver)
    }

    private func compare(_ row: LayerRow, _ driver: any StorageDriver) throws -> CheckFinding? {
        let digest: Digest
        do {
            digest = try self.digest(of: row.id, row, driver)
        } catch let error as StorageError where error.code == .corrupt {
            // What lies there is no layer of the driver, as in a copy of a store.
            return CheckFinding(.wrongContent, row.driver, row.id, "\(error)")
        }
        if let content = row.content {
            if digest == content { return nil }
            return CheckFinding(
                .wrongContent,
                row.driver,
                row.id,
                "it has the digest \(digest), recorded is \(content)"
            )
        }
        guard let good = try remake(row, driver) else {
            return CheckFinding(
                .unverifiable,
                row.driver,
                row.id,
                "no digest was recorded and its blob is not stored"
            )
        }
        defer { store.discard(good) }
        let expected = try self.digest(of: good.id, row, driver)
        guard digest == expected else {
            return CheckFinding(
                .wrongContent,
                row.driver,
                row.id,
                "it has the digest \(digest), its blob gives \(expected)"
            )
        }
        try store.root.database.transaction(durable: false) { transaction in
            try transaction.run(
                "UPDATE layers SET content = ? WHERE id = ?",
                [.text(digest.description), .text(row.id.rawValue)]
            )
        }
        return nil
    }

    private func digest(of id: LayerID, _ row: LayerRow, _ driver: any StorageDriver) throws -> Digest {
        let changes = try driver.changes(id, over: store.parents(of: row))
        return try changes.digest(label: "layer \(id)", stop)
    }

    /// The layer once more, beside the first: from its blob, else from another driver's copy; an init layer from its list.
    ///
    /// Without a row.
    ///
    /// - Returns: `nil` if there is neither.
    private func remake(_ row: LayerRow, _ driver: any StorageDriver) throws -> HeldLayer? {
        let parents = try store.parents(of: row)
        guard let origin = try origin(row, over: parents) else { return nil }
        let held: HeldLayer
        repeat {
            let id = LayerID.random()
            guard let lock = try store.root.lock(id.rawValue, .exclusive, wait: false) else { continue }
            held = HeldLayer(id: id, driver: row.driver, parents: parents, lock: lock)
            break
        } while true
        do {
            let meter = LayerMeter(origin.source, stop)
            let over = driver.appliesOverParent ? parents : nil
            let undecided = try doing("unpack \(meter.label) on \(row.driver)") {
                try driver.apply(meter, to: held.id, over: over)
            }
            try origin.finish()
            try driver.seal(held.id, over: parents, undecided: undecided)
            return held
        } catch {
            origin.cancel()
            store.discard(held)
            throw error
        }
    }

    private struct Origin {
        var source: any LayerEntrySource
        /// Verifies what was read.
        var finish: () throws -> Void
        var cancel: () -> Void = {}
    }

    private func origin(_ row: LayerRow, over parents: LayerChain) throws -> Origin? {
        if row.kind == .`init`, let initEntries {
            let entries = try store.entriesToAdd(parents, row.driver, initEntries)
            return Origin(source: EntryList(entries, label: "init layer"), finish: {})
        }
        guard let diffID = row.diffID else { return nil }
        if let stream = try source(diffID) {
            return Origin(
                source: stream,
                finish: {
                    let found = try stream.finish().diffID
                    if found != diffID {
                        throw StorageError(
                            .corrupt,
                            "read \(stream.label): its content has the digest \(found)"
                        )
                    }
                },
                cancel: { stream.cancel() }
            )
        }
        guard let chainID = row.chainID else { return nil }
        for copy in try store.root.database.copies(of: chainID, except: row.driver) {
            let other = try store.driver(copy.driver)
            let changes = try other.changes(copy.id, over: store.parents(of: copy))
            let sink = HashingSink()
            let tee = TarTee(ChangeStream(changes, label: "layer \(diffID) of \(copy.driver)"), sink: sink)
            return Origin(source: tee) {
                try tee.finish()
                let found = try sink.digest()
                guard found == diffID || found == copy.content || found == row.content else {
                    throw StorageError(
                        .corrupt,
                        "read \(tee.label): it has the digest \(found), which nothing vouches for"
                    )
                }
            }
        }
        return nil
    }

    /// Puts a good copy in the layer's place: one transaction changes the rows, then the bad data goes.
    func repair(_ snapshot: LayerRow) throws -> Bool {
        guard let row = try store.root.database.layer(snapshot.id) else { return false }
        let driver = try store.driver(row.driver)
        let locks = try locksAgainstUse(of: row)
        defer { withExtendedLifetime(locks) {} }
        guard let good = try remake(row, driver) else { return false }
        do {
            var new = row
            new.id = good.id
            new.isSealed = true
            new.content = try digest(of: good.id, row, driver)
            if let content = row.content, content != new.content {
                throw StorageError(
                    .corrupt,
                    "repair layer \(row.id): its blob gives other content than was recorded"
                )
            }
            try store.syncIfDurable(driver)
            try store.root.database.transaction(durable: store.isDurable) { transaction in
                let ids: [SQLValue] = [.text(new.id.rawValue), .text(row.id.rawValue)]
                try transaction.run("DELETE FROM layers WHERE id = ?", [.text(row.id.rawValue)])
                try new.insert(in: transaction)
                try transaction.run("UPDATE layers SET parent = ? WHERE parent = ?", ids)
            }  // commit point
        } catch {
            store.discard(good)
            throw error
        }
        store.root.removeLock(good.id.rawValue)
        try driver.remove(row.id)
        store.root.removeLock(row.id.rawValue)
        return true
    }

    /// The layer's own lock and those of all that stands on it, so that nothing has it mounted or builds on it.
    private func locksAgainstUse(of row: LayerRow) throws -> [HeldLock] {
        var locks: [HeldLock] = []
        var waiting = [row]
        while let next = waiting.popLast() {
            guard let lock = try store.tryLock(next.id.rawValue, .exclusive) else {
                let what = next.id == row.id ? "it" : "layer \(next.id), which stands on it,"
                throw StorageError(
                    .inUse,
                    "repair layer \(row.id): \(what) is in use",
                    remedy: "stop its containers first"
                )
            }
            locks.append(lock)
            waiting += try store.root.database.children(of: next.id)
        }
        return locks
    }
}
