// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import Storage
package import StoreRoot

/// A layer whose lock is held: exclusively, so that only its holder mounts it for writing, seals or removes it, or
/// shared with others who read a sealed one.
///
/// The lock goes with the last reference. It belongs to `lock.fd`, which a child process may inherit and so hold on.
package final class HeldLayer: Sendable {
    package let id: LayerID
    package let driver: String
    /// What it stands on, base first.
    package let parents: LayerChain
    package let lock: FileLock

    init(id: LayerID, driver: String, parents: LayerChain, lock: consuming FileLock) {
        self.id = id
        self.driver = driver
        self.parents = parents
        self.lock = lock
    }
}

/// A writable layer that no row names yet: dropped before `end`, it is removed again, unless it has its row.
package struct PreparedLayer: ~Copyable {
    /// The layer with its lock; good beyond the life of this value once the row is there.
    package let held: HeldLayer
    private let store: LayerStore
    private let kind: LayerRow.Kind
    /// Keeps the layer below until our row names it.
    private let parentLock: HeldLock?
    private var isKept = false

    init(_ held: HeldLayer, _ store: LayerStore, kind: LayerRow.Kind, parentLock: HeldLock?) {
        self.held = held
        self.store = store
        self.kind = kind
        self.parentLock = parentLock
    }

    package var id: LayerID { held.id }

    /// Writes the layer's row, in the transaction of whatever the layer is for.
    package func insertRow(in transaction: Transaction) throws {
        let row = LayerRow(
            id: held.id,
            driver: held.driver,
            parent: held.parents.top,
            kind: kind,
            isSealed: false
        )
        try row.insert(in: transaction)
    }

    /// Ends the preparation, after the transaction: the layer below is no longer held, the row keeps it.
    package consuming func end() -> HeldLayer {
        isKept = true
        return held
    }

    deinit {
        if isKept { return }
        // A transaction may take place although its end was reported as a failure. If that cannot be told, recovery does.
        if let row = try? store.hasRow(held.id), !row { store.discard(held) }
    }
}

extension LayerStore {
    /// Makes a writable layer for a container; its lock is held.
    ///
    /// - Parameters:
    ///   - chain: what it stands on, normally image and init layer.
    ///   - size: a limit in bytes, honoured or refused by the driver.
    package func prepare(
        over chain: LayerChain,
        driver name: String,
        size: Int64? = nil
    ) throws -> PreparedLayer {
        try prepare(kind: .container, over: chain, driver: name, size: size)
    }

    func prepare(
        kind: LayerRow.Kind,
        over chain: LayerChain,
        driver name: String,
        size: Int64?
    ) throws -> PreparedLayer {
        let driver = try driver(name)
        let parentLock = try chain.top.map { try protect($0) }
        var attempts = 0
        while true {
            let id = LayerID.random()
            guard let lock = try root.lock(id.rawValue, .exclusive, wait: false) else { continue }
            do {
                // Making the layer decides a collision.
                try doing("prepare layer \(id) on \(name)") {
                    try driver.prepare(id, over: chain, options: LayerOptions(size: size))
                }
            } catch let error as StorageError where error.code == .exists && attempts < 8 {
                attempts += 1
                continue
            } catch {
                root.removeLock(id.rawValue)
                throw error
            }
            let held = HeldLayer(id: id, driver: name, parents: chain, lock: lock)
            return PreparedLayer(held, self, kind: kind, parentLock: parentLock)
        }
    }

    fileprivate func hasRow(_ id: LayerID) throws -> Bool { try root.database.layer(id) != nil }

    /// Takes the lock of an existing layer.
    ///
    /// - Parameter mode: shared keeps the layer there, for whoever only reads a sealed one.
    /// - Returns: `nil` if `wait` is false and somebody holds it.
    package func hold(
        _ id: LayerID,
        _ mode: FileLock.Mode = .exclusive,
        wait: Bool = true
    ) throws -> HeldLayer? {
        _ = try layer(id)  // no lock file for what is not there
        guard let lock = try root.lock(id.rawValue, mode, wait: wait) else { return nil }
        guard let row = try root.database.layer(id) else {
            if mode == .exclusive { root.removeLock(id.rawValue) }
            throw StorageError(.notFound, "layer \(id): no such layer")
        }
        return HeldLayer(id: id, driver: row.driver, parents: try parents(of: row), lock: lock)
    }

    /// Takes over a layer whose lock came, held exclusively, from another process.
    package func adopt(_ id: LayerID, lock: consuming FileLock) throws -> HeldLayer {
        let row = try layer(id)
        return HeldLayer(id: id, driver: row.driver, parents: try parents(of: row), lock: lock)
    }

    /// The layer's tree.
    ///
    /// Writable at most once at a time, which holding it sees to.
    package func mount(_ layer: HeldLayer, _ access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(layer.id) of \(layer.driver)") {
            try driver(layer.driver).mount(layer.id, over: layer.parents, access: access)
        }
    }

    /// The tree of a layer that nothing can change meanwhile: a sealed one.
    ///
    /// The base of an empty chain is no layer.
    package func mountReadOnly(_ chain: LayerChain, driver name: String) throws -> MountedLayer {
        guard let top = chain.top else {
            throw StorageError(.invalid, "mount on \(name): no layer was named")
        }
        return try doing("mount layer \(top) of \(name)") {
            try driver(name).mount(top, over: LayerChain(Array(chain.ids.dropLast())), access: .readOnly)
        }
    }

    /// What the layer changed against its direct parent; for a container's layer, what the container changed.
    ///
    /// It may be in use: then the answer is of some moment between the call and its end.
    package func changes(_ id: LayerID) throws -> ChangeSet {
        let row = try layer(id)
        return try doing("find the changes of layer \(id)") {
            try driver(row.driver).changes(id, over: parents(of: row))
        }
    }

    /// Deletes the layer's row; then `discard` may take its data.
    ///
    /// Fails with `.inUse` if a layer stands on it.
    package func deleteRow(_ id: LayerID, in transaction: Transaction) throws {
        let children = try transaction.query(
            "SELECT id FROM layers WHERE parent = ? LIMIT 1",
            [.text(id.rawValue)]
        ) { $0.text(0) }
        if let child = children.first {
            throw StorageError(.inUse, "remove layer \(id): layer \(child) stands on it")
        }
        try transaction.run("DELETE FROM layers WHERE id = ?", [.text(id.rawValue)])
    }

    /// Takes away the data of a layer whose row is gone.
    ///
    /// What cannot be removed now is left to `recover`.
    package func discard(_ layer: HeldLayer) {
        do {
            try driver(layer.driver).remove(layer.id)
            root.removeLock(layer.id.rawValue)
        } catch {
            warn("remove layer \(layer.id): \(error); it will be tried again")
        }
    }
}
