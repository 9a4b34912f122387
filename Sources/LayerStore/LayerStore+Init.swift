// SPDX-License-Identifier: Apache-2.0

import LinuxSys
package import Storage
import StoreRoot

extension LayerStore {
    /// The layer of empty mount points over an image, shared by all its containers; made on first use.
    ///
    /// - Parameters:
    ///   - chain: the image's layers; may be empty.
    ///   - entries: what is to be added, for a look at the image's root, read-only (`nil` for an image without layers).
    ///     Regular files are empty. Directories above an entry keep the image's metadata. Called only if it must be made.
    /// - Returns: `chain` with the layer on top.
    package func initLayer(
        over chain: LayerChain,
        driver name: String,
        entries: (CInt?) throws -> [LayerEntry]
    ) throws -> LayerChain {
        if let id = try root.database.initLayer(over: chain.top, driver: name) { return chain.appending(id) }
        let claim = try wait(for: "\(name).init-\(chain.top?.rawValue ?? "scratch")", .exclusive)
        defer { root.removeLock(claim.name) }
        if let id = try root.database.initLayer(over: chain.top, driver: name) { return chain.appending(id) }
        let parentLock = try chain.top.map { try protect($0) }
        defer { withExtendedLifetime(parentLock) {} }
        let list = try entriesToAdd(chain, name, entries)
        let driver = try driver(name)
        let (id, lock) = try claimID()
        defer { withExtendedLifetime(lock) {} }
        do {
            try makeInitLayer(id, list, over: chain, driver, name)
        } catch {
            undo(id, driver)
            throw error
        }
        root.removeLock(id.rawValue)
        return chain.appending(id)
    }

    func entriesToAdd(
        _ chain: LayerChain,
        _ name: String,
        _ entries: (CInt?) throws -> [LayerEntry]
    ) throws -> [LayerEntry] {
        if chain.ids.isEmpty { return try entries(nil) }
        let image = try mountReadOnly(chain, driver: name)
        return try entries(image.root.raw)
    }

    private func makeInitLayer(
        _ id: LayerID,
        _ list: [LayerEntry],
        over chain: LayerChain,
        _ driver: any StorageDriver,
        _ name: String
    ) throws {
        try doing("make the init layer over \(chain.top?.rawValue ?? "nothing") on \(name)") {
            let source = EntryList(list, label: "init layer")
            let undecided = try driver.apply(source, to: id, over: driver.appliesOverParent ? chain : nil)
            try driver.seal(id, over: chain, undecided: undecided)
            let made = try driver.changes(id, over: chain)
            let content = try made.digest(label: "init layer", StopSwitch())
            try syncIfDurable(driver)
            try root.database.transaction(durable: isDurable) { transaction in
                let row = LayerRow(id: id, driver: name, parent: chain.top, kind: .`init`, content: content)
                try row.insert(in: transaction)
            }
        }
    }
}
