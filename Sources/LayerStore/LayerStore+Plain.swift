// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
package import Storage
import StoreRoot

/// The layers that users make one by one, with `strata layer`.
extension LayerStore {
    /// Makes an empty writable layer over `parent`, which must be sealed.
    package func createPlain(over parent: LayerID?, driver name: String, size: Int64? = nil) throws -> LayerID
    {
        let chain = try sealedChain(parent, driver: name)
        let prepared = try prepare(kind: .plain, over: chain, driver: name, size: size)
        let id = prepared.id
        try root.database.transaction(durable: isDurable) { try prepared.insertRow(in: $0) }
        _ = prepared.end()
        return id
    }

    /// Unpacks `source` as a sealed layer over `parent`.
    ///
    /// The caller ends the source and checks its digests in `finish`, which gives the layer's DiffID.
    package func applyPlain(
        _ source: any LayerEntrySource,
        over parent: LayerID?,
        driver name: String,
        finish: () throws -> Digest?
    ) throws -> LayerID {
        let chain = try sealedChain(parent, driver: name)
        let driver = try driver(name)
        let parentLock = try parent.map { try protect($0) }
        defer { withExtendedLifetime(parentLock) {} }
        let (id, lock) = try claimID()
        defer { withExtendedLifetime(lock) {} }
        do {
            let meter = LayerMeter(source, StopSwitch())
            let undecided = try doing("unpack \(source.label) on \(name)") {
                try driver.apply(meter, to: id, over: driver.appliesOverParent ? chain : nil)
            }
            let diffID = try finish()
            try driver.seal(id, over: chain, undecided: undecided)
            try syncIfDurable(driver)
            let row = LayerRow(
                id: id,
                driver: name,
                parent: parent,
                kind: .plain,
                diffID: diffID,
                size: meter.size
            )
            try root.database.transaction(durable: isDurable) { try row.insert(in: $0) }
        } catch {
            undo(id, driver)
            throw error
        }
        root.removeLock(id.rawValue)
        return id
    }

    /// Makes a plain layer immutable, so that others can stand on it.
    ///
    /// - Returns: the digest of its tar, which becomes its DiffID.
    @discardableResult
    package func seal(_ id: LayerID) throws -> Digest {
        guard let held = try hold(id, wait: false) else {
            throw StorageError(.inUse, "seal layer \(id): it is in use", remedy: "unmount it first")
        }
        let row = try layer(id)
        guard row.kind == .plain, !row.isSealed else {
            let why = row.isSealed ? "it is sealed already" : "it belongs to a container"
            throw StorageError(.invalid, "seal layer \(id): \(why)")
        }
        let driver = try driver(row.driver)
        try doing("seal layer \(id)") {
            try driver.seal(id, over: held.parents, undecided: Undecided())
        }
        let changes = try driver.changes(id, over: held.parents)
        let digest = try changes.digest(label: "layer \(id)", StopSwitch())
        let usage = try driver.usage(id)
        try syncIfDurable(driver)
        try root.database.transaction(durable: isDurable) { transaction in
            try transaction.run(
                "UPDATE layers SET sealed = 1, diff_id = ?1, content = ?1, size = ?2 WHERE id = ?3",
                [.text(digest.description), .integer(usage.bytes), .text(id.rawValue)]
            )
        }
        return digest
    }

    /// Removes a plain layer.
    ///
    /// `.inUse` if a layer stands on it or somebody holds it.
    package func removePlain(_ id: LayerID) throws {
        guard try layer(id).kind == .plain else {
            throw StorageError(
                .invalid,
                "remove layer \(id): it belongs to an image or a container",
                remedy: "remove those: strata rmi, strata rm, strata system prune"
            )
        }
        guard let held = try hold(id, wait: false) else {
            throw StorageError(.inUse, "remove layer \(id): it is in use", remedy: "unmount it first")
        }
        try root.database.transaction(durable: isDurable, freesSpace: true) { try deleteRow(id, in: $0) }
        discard(held)
    }

    private func sealedChain(_ parent: LayerID?, driver: String) throws -> LayerChain {
        guard let parent else { return LayerChain() }
        let rows = try ancestry(of: parent)
        if let other = rows.first(where: { $0.driver != driver }) {
            throw StorageError(
                .invalid,
                "build on layer \(parent): it lies on driver \(other.driver), not \(driver)"
            )
        }
        if let open = rows.first(where: { !$0.isSealed }) {
            throw StorageError(
                .invalid,
                "build on layer \(parent): \(open.id) is not sealed",
                remedy: "strata layer seal \(open.id)"
            )
        }
        return LayerChain(rows.map(\.id))
    }
}
