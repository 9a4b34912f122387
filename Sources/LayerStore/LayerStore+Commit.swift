// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
package import Storage
package import StoreRoot

/// An image layer made of what a container changed.
package struct CommittedLayer: Sendable {
    package var diffID: Digest
    package var chainID: Digest
    /// The image's layers with the new one on top.
    package var chain: LayerChain
    /// Bytes of its files.
    package var size: Int64
}

extension LayerStore {
    /// Makes an image layer of what the layer `id` changed, over the image that it stands on.
    ///
    /// The layer lives on.
    ///
    /// Each file is read once, into the digest of the layer's tar, and into the new layer unless the driver copies that as a
    /// whole. A container that runs must be paused meanwhile; the caller sees to that. The init layer takes no part.
    ///
    /// - Parameter record: runs in the same transaction as the layer's row; the new image's rows belong there.
    package func commit(
        _ id: LayerID,
        cancelled: @escaping @Sendable () -> Bool = { false },
        record: (Transaction, CommittedLayer) throws -> Void
    ) throws -> CommittedLayer {
        let rows = try ancestry(of: id)
        guard let row = rows.last else { throw StorageError(.notFound, "layer \(id): no such layer") }
        let driver = try driver(row.driver)
        let image = rows.dropLast().filter { $0.kind != .`init` }
        let parents = LayerChain(image.map(\.id))
        let (newID, lock) = try claimID()
        defer { withExtendedLifetime(lock) {} }
        let parentLock = try image.last.map { try protect($0.id) }
        defer { withExtendedLifetime(parentLock) {} }
        do {
            let job = LayerCommit(rows, parents, driver, newID, StopSwitch(cancelled))
            let made = try job.copy() ?? job.apply()
            let new = LayerRow(
                id: newID,
                driver: row.driver,
                parent: parents.top,
                kind: .image,
                chainID: Digest.chainID(parent: try chainID(of: image), diffID: made.diffID),
                diffID: made.diffID,
                size: made.size,
                content: made.diffID
            )
            return try settle(new, over: parents, made.undecided, driver, record)
        } catch {
            undo(newID, driver)
            throw error
        }
    }

    private func chainID(of image: [LayerRow]) throws -> Digest? {
        guard let top = image.last else { return nil }
        guard let chainID = top.chainID else {
            throw StorageError(.invalid, "commit: layer \(top.id) below is no layer of an image")
        }
        return chainID
    }

    /// Under the lock of its chain id: our layer becomes the one, or gives way to an equal one.
    private func settle(
        _ row: LayerRow,
        over parents: LayerChain,
        _ undecided: Undecided,
        _ driver: any StorageDriver,
        _ record: (Transaction, CommittedLayer) throws -> Void
    ) throws -> CommittedLayer {
        guard let chainID = row.chainID, let diffID = row.diffID else {
            preconditionFailure("an image layer has a chain id and a diff id")
        }
        // Held after the new layer's own lock, against the order; nobody waits for the lock of an id that has no row.
        let claim = try wait(for: "\(row.driver).\(chainID)", .exclusive)
        defer { root.removeLock(claim.name) }
        var sealed = false
        while true {
            let present = try root.database.imageLayer(chainID, driver: row.driver)
            if present == nil, !sealed {
                try driver.seal(row.id, over: parents, undecided: undecided)
                try syncIfDurable(driver)
                sealed = true
            }
            var result = CommittedLayer(
                diffID: diffID,
                chainID: chainID,
                chain: parents.appending(row.id),
                size: row.size
            )
            if let present { result.chain = parents.appending(present.id) }
            let done = try root.database.transaction(durable: isDurable) { transaction in
                guard try transaction.imageLayer(chainID, driver: row.driver)?.id == present?.id else {
                    return false
                }
                if present == nil { try row.insert(in: transaction) }
                try record(transaction, result)
                return true
            }  // commit point
            if !done { continue }
            if present == nil { root.removeLock(row.id.rawValue) } else { undo(row.id, driver) }
            return result
        }
    }
}
