// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import Synchronization

/// One run of `LayerStore.materialise`: locks, then apply side by side, seal from the base up, one sync, the rows.
///
/// Until the rows are written all of it is garbage by definition, so a kill at any step leaves nothing but
/// data without a row, lock files, and perhaps blobs without a row.
final class Materialisation: Sendable {
    private let store: LayerStore
    private let layers: [LayerSource]
    private let name: String
    private let driver: any StorageDriver
    private let stop: StopSwitch
    private let progress: @Sendable (LayerProgress) -> Void

    /// A layer that is being made.
    private struct Making: Sendable {
        let index: Int
        let id: LayerID
        let lock: HeldLock
    }

    /// What applying a layer gave.
    private struct Applied: Sendable {
        var undecided: Undecided
        var size: Int64
        var content: Digest?
    }

    init(
        _ store: LayerStore,
        _ layers: [LayerSource],
        _ name: String,
        _ driver: any StorageDriver,
        _ stop: StopSwitch,
        _ progress: @escaping @Sendable (LayerProgress) -> Void
    ) {
        self.store = store
        self.layers = layers
        self.name = name
        self.driver = driver
        self.stop = stop
        self.progress = progress
    }

    /// - Returns: `nil` if things changed while it waited and the caller should look again.
    func run(_ record: ((Transaction) throws -> Void)?) throws -> LayerChain? {
        let before = try presentPrefix().count
        if before == layers.count { return nil }
        let claim = try claim(layers[before])
        defer { store.root.removeLock(claim.name) }
        let present = try presentPrefix()
        if present.count != before { return nil }
        var parentLock: HeldLock?
        if let parent = present.last {
            // Keeps the layer that we build on until our rows name it.
            do { parentLock = try store.protect(parent) } catch let error as StorageError
                where error.code == .notFound
            {
                return nil
            }
        }
        defer { withExtendedLifetime(parentLock) {} }
        for index in present.indices { report(index, .exists) }
        let making = try (present.count..<layers.count).map { index in
            let claimed = try store.claimID()
            return Making(index: index, id: claimed.id, lock: claimed.lock)
        }
        do {
            return try make(making, over: LayerChain(present), record)
        } catch {
            for layer in making { store.undo(layer.id, driver) }
            throw error
        }
    }

    /// The right to make what is missing: the lock of its lowest layer.
    ///
    /// One lock is enough: whoever wants any of our layers wants those below it too, and so this one.
    private func claim(_ lowest: LayerSource) throws -> HeldLock {
        let lockName = "\(name).\(lowest.chainID)"
        if let lock = try store.tryLock(lockName, .exclusive) { return lock }
        for (index, layer) in layers.enumerated() where layer.chainID == lowest.chainID {
            report(index, .waiting)
        }
        return try store.wait(for: lockName, .exclusive)
    }

    /// The layers that have rows; a layer has one only if those below have.
    private func presentPrefix() throws -> [LayerID] {
        var present: [LayerID] = []
        for layer in layers {
            guard let row = try store.root.database.imageLayer(layer.chainID, driver: name) else { break }
            if !row.isSealed {
                throw StorageError(
                    .corrupt,
                    "build on layer \(row.id) (\(layer.diffID)) on \(name): it is not whole",
                    remedy: "strata system check --repair"
                )
            }
            present.append(row.id)
        }
        return present
    }

    private func make(
        _ making: [Making],
        over present: LayerChain,
        _ record: ((Transaction) throws -> Void)?
    ) throws -> LayerChain {
        var chain = present
        var rows: [LayerRow] = []
        func seal(_ layer: Making, _ applied: Applied) throws {
            try stop.check()
            try doing("seal layer \(layers[layer.index].diffID) on \(name)") {
                try driver.seal(layer.id, over: chain, undecided: applied.undecided)
            }
            rows.append(
                LayerRow(
                    id: layer.id,
                    driver: name,
                    parent: chain.top,
                    kind: .image,
                    chainID: layers[layer.index].chainID,
                    diffID: layers[layer.index].diffID,
                    size: applied.size,
                    content: applied.content
                )
            )
            chain = chain.appending(layer.id)
        }
        let writing = store.isDurable ? EarlyWriting(to: store.root.path) : nil
        defer { writing?.end() }
        if driver.appliesOverParent {
            try applyInOrder(making) { layer, stream in
                try seal(layer, try apply(layer, over: chain, opened: stream))
            }
        } else {
            for (layer, applied) in zip(making, try applyAll(making)) { try seal(layer, applied) }
        }
        writing?.end()
        try doing("sync \(name)") { try store.syncIfDurable(driver) }
        try store.root.database.transaction(durable: store.isDurable) { transaction in
            for row in rows { try row.insert(in: transaction) }
            try record?(transaction)
        }  // commit point
        for layer in making { store.root.removeLock(layer.id.rawValue) }
        return chain
    }

    /// Applies one after the other; the next layer is read, decompressed and hashed meanwhile as far as its rings hold.
    private func applyInOrder(_ making: [Making], _ body: (Making, LayerStream?) throws -> Void) throws {
        var next = try making.first.map { try opened(layers[$0.index]) }
        for (position, layer) in making.enumerated() {
            let stream = next ?? nil
            next = try position + 1 < making.count ? opened(layers[making[position + 1].index]) : nil
            try body(layer, stream)
        }
    }

    /// Applies side by side, the largest first.
    ///
    /// The first error stops the others and is the one that is thrown.
    private func applyAll(_ making: [Making]) throws -> [Applied] {
        let order = making.indices.sorted { left, right in
            let sizes = (layers[making[left].index].size ?? 0, layers[making[right].index].size ?? 0)
            return sizes.0 != sizes.1 ? sizes.0 > sizes.1 : left < right
        }
        let outcome = Mutex<(applied: [Int: Applied], failure: (any Error)?)>(([:], nil))
        WorkerThreads.run(making.count, width: min(6, max(2, WorkerThreads.cores))) { [self] position in
            if stop.isStopped { return }
            do {
                let layer = making[order[position]]
                let applied = try apply(layer, over: nil, opened: opened(layers[layer.index]))
                outcome.withLock { $0.applied[order[position]] = applied }
            } catch {
                outcome.withLock { if $0.failure == nil { $0.failure = error } }
                stop.stop()
            }
        }
        return try outcome.withLock { outcome in
            if let failure = outcome.failure { throw failure }
            try stop.check()
            return making.indices.compactMap { outcome.applied[$0] }
        }
    }

    private func apply(
        _ layer: Making,
        over parents: LayerChain?,
        opened stream: LayerStream?
    ) throws -> Applied {
        try stop.check()
        if let stream { return try unpack(stream, layer, over: parents) }
        return try copy(layer, over: parents)
    }

    /// `nil` if there is no blob.
    private func opened(_ source: LayerSource) throws -> LayerStream? {
        do {
            return try source.open()
        } catch let error as StorageError where error.code == .notFound {
            return nil
        }
    }

    private func unpack(_ stream: LayerStream, _ layer: Making, over parents: LayerChain?) throws -> Applied {
        let source = layers[layer.index]
        progress(
            LayerProgress(
                index: layer.index,
                diffID: source.diffID,
                step: .unpacking,
                read: stream.blobBytes,
                size: source.size
            )
        )
        let meter = LayerMeter(stream, stop)
        do {
            let undecided = try doing("unpack \(stream.label)") {
                try driver.apply(meter, to: layer.id, over: parents)
            }
            let digests = try stream.finish()
            guard digests.diffID == source.diffID else {
                throw StorageError(
                    .corrupt,
                    "unpack \(stream.label): its content has the digest \(digests.diffID), not \(source.diffID)",
                    remedy: "load the image again"
                )
            }
            try source.completed(digests)
            report(layer.index, .unpacked)
            return Applied(undecided: undecided, size: meter.size)
        } catch {
            stream.cancel()
            throw error
        }
    }

    private func copy(_ layer: Making, over parents: LayerChain?) throws -> Applied {
        let source = layers[layer.index]
        guard let origin = try store.root.database.copies(of: source.chainID, except: name).first else {
            throw StorageError(
                .notFound,
                "make layer \(source.diffID) on \(name): its blob is not stored and no other driver has it",
                remedy: "load the image again"
            )
        }
        let lock = try store.protect(origin.id)
        defer { withExtendedLifetime(lock) {} }
        report(layer.index, .copying(from: origin.driver))
        let changes = try store.driver(origin.driver).changes(origin.id, over: store.parents(of: origin))
        let sink = HashingSink()
        let tee = TarTee(
            ChangeStream(changes, label: "layer \(source.diffID) of \(origin.driver)"),
            sink: sink
        )
        let meter = LayerMeter(tee, stop)
        let undecided = try doing("copy \(tee.label) to \(name)") {
            try ReadAhead.reading(meter, count: changes.changes.count) {
                try driver.apply($0, to: layer.id, over: parents)
            }
        }
        try tee.finish()
        let digest = try sink.digest()
        // A tar that came from elsewhere is not written by us byte for byte; then what was recorded must agree.
        guard digest == source.diffID || digest == origin.content else {
            throw StorageError(
                .corrupt,
                "copy \(tee.label) to \(name): the copy has the digest \(digest), which nothing vouches for",
                remedy: "load the image again"
            )
        }
        report(layer.index, .unpacked)
        return Applied(undecided: undecided, size: meter.size, content: digest)
    }

    private func report(_ index: Int, _ step: LayerProgress.Step) {
        progress(LayerProgress(index: index, diffID: layers[index].diffID, step: step))
    }
}
