// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
package import Storage
package import StoreRoot

/// What happens to one layer of an image.
///
/// May come from any thread.
package struct LayerProgress: Sendable {
    package enum Step: Sendable, Equatable {
        /// It was there already.
        case exists
        /// Another process makes it; we wait.
        case waiting
        case unpacking
        /// Made from the copy that another driver has.
        case copying(from: String)
        case unpacked
    }

    package var index: Int
    package var diffID: Digest
    package var step: Step
    /// Of the layer's blob, where they are known: what was read so far, and all there are.
    package var read: ByteCount?
    package var size: Int64?
}

extension LayerStore {
    /// Makes all layers of an image on `driver`, as far as they are not there: side by side, each once on the machine.
    ///
    /// All or nothing: rows appear together, after all data is on disk (one sync). When one layer fails, the others are
    /// stopped and nothing stays. A layer that another process is making is waited for.
    ///
    /// - Parameters:
    ///   - layers: the image's, base first.
    ///   - cancelled: asked often; `true` ends it with `.interrupted`.
    ///   - record: runs in the same transaction as the layers' rows, also if they were all there: rows of an image that are
    ///     written here keep `prune` off its layers without a gap.
    /// - Returns: the layers, base first; empty for an image without layers.
    package func materialise(
        _ layers: [LayerSource],
        driver name: String,
        progress: @escaping @Sendable (LayerProgress) -> Void = { _ in },
        cancelled: @escaping @Sendable () -> Bool = { false },
        record: ((Transaction) throws -> Void)? = nil
    ) throws -> LayerChain {
        let driver = try driver(name)
        while true {
            if let chain = try existing(layers, name, progress, record) { return chain }
            let job = Materialisation(self, layers, name, driver, StopSwitch(cancelled), progress)
            // `nil`: the layers below were removed, or all were made, while we waited for locks.
            if let chain = try job.run(record) { return chain }
        }
    }

    private func existing(
        _ layers: [LayerSource],
        _ driver: String,
        _ progress: (LayerProgress) -> Void,
        _ record: ((Transaction) throws -> Void)?
    ) throws -> LayerChain? {
        guard let top = layers.last else {
            if let record { try root.database.transaction(durable: isDurable) { try record($0) } }
            return LayerChain()
        }
        guard let chain = try chain(of: top.chainID, driver: driver) else { return nil }
        if let record {
            let stillThere = try root.database.transaction(durable: isDurable) { transaction in
                guard try transaction.imageLayer(top.chainID, driver: driver)?.id == chain.top else {
                    return false
                }
                try record(transaction)
                return true
            }
            if !stillThere { return nil }
        }
        for (index, layer) in layers.enumerated() {
            progress(LayerProgress(index: index, diffID: layer.diffID, step: .exists))
        }
        return chain
    }
}
