// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import Synchronization

/// An image on its way into the store: give `layers` to whoever unpacks them (or to nobody), then call
/// `finish`.
///
/// Each layer is read once: what unpacks it stores and verifies it on the way. Until `finish` has returned
/// nothing of the image can be seen, and a load that is dropped leaves nothing behind.
package final class ImageLoad: Sendable {
    package let config: ImageConfig
    package let id: Digest
    package let references: [Reference]
    /// Base first.
    ///
    /// They may be read side by side; each of them, some, or none.
    package let layers: [LayerSource]

    private let store: ImageStore
    private let batch: BlobBatch
    private let progress: LoadProgress
    private let configBytes: [UInt8]
    /// The manifest as it came; without one, it is made of what blobs there are.
    private let manifest: Manifest?
    private let origin: Origin

    /// What the rows shall say beside the config.
    struct Origin {
        var parent: Digest?
        /// Sizes of layers that are not read, by position.
        var sizes: [Int: Int64] = [:]
        /// Layers that may stay without a blob: what a commit made.
        var blobless: Set<Digest> = []
    }

    init(
        store: ImageStore,
        batch: BlobBatch,
        config: ImageConfig,
        configBytes: [UInt8],
        manifest: Manifest?,
        references: [Reference],
        contents: [LayerContent],
        origin: Origin = Origin()
    ) throws {
        self.store = store
        self.batch = batch
        self.config = config
        self.configBytes = configBytes
        self.manifest = manifest
        self.references = references
        self.origin = origin
        id = .sha256(of: configBytes)
        let progress = LoadProgress(batch: batch, contents: contents)
        self.progress = progress
        var layers: [LayerSource] = []
        for (index, chainID) in config.chainIDs.enumerated() {
            let content = contents[index]
            layers.append(
                LayerSource(
                    diffID: content.diffID,
                    chainID: chainID,
                    size: content.size,
                    open: { try progress.open(index) },
                    completed: { try progress.completed(index, $0) }
                )
            )
        }
        self.layers = layers
    }

    /// Reads what nobody read, makes the blobs durable, and records the image with its names in one
    /// transaction.
    ///
    /// Fails, and records nothing, if a layer is not what the image says.
    package func finish() throws -> LoadedImage {
        var blobs: [BlobStore.Record?] = []
        var sizes: [Int64?] = []
        for index in layers.indices {
            let isOptional = origin.blobless.contains(layers[index].diffID)
            let layer = try isOptional ? progress.storedLayer(index) : progress.layer(index)
            blobs.append(layer?.record)
            sizes.append(
                try layer?.tarSize ?? origin.sizes[index] ?? store.knownSize(of: layers[index].diffID)
            )
        }
        let configDescriptor = try batch.add(
            configBytes,
            mediaType: manifest?.config.mediaType ?? MediaType.ociConfig
        )
        let manifestDescriptor = try addManifest(configDescriptor, blobs)
        try batch.publish(sync: store.isDurable)
        let record = ImageRecord(
            id: id,
            manifest: manifestDescriptor?.digest,
            parent: origin.parent,
            config: config,
            configBytes: configBytes,
            layers: zip(blobs, sizes).map { ($0?.digest, $1) }
        )
        let moved = try store.database.transaction(durable: store.isDurable) { transaction in
            try batch.insertRows(in: transaction)
            try record.insert(in: transaction)
            return try ImageStore.insert(references, for: id, in: transaction)
        }
        store.updateIndex()
        return LoadedImage(id: id, references: references, moved: moved)
    }

    private func addManifest(_ config: Descriptor, _ blobs: [BlobStore.Record?]) throws -> Descriptor? {
        if let manifest {
            return try batch.add(manifest.bytes, mediaType: manifest.mediaType)
        }
        var layers: [Descriptor] = []
        for blob in blobs {
            guard let blob else { return nil }
            layers.append(Descriptor(mediaType: blob.mediaType, digest: blob.digest, size: blob.size))
        }
        let made = Manifest(config: config, layers: layers)
        return try batch.add(made.bytes, mediaType: made.mediaType)
    }
}

/// What a load ended in, for the command's output.
package struct LoadedImage: Sendable {
    package let id: Digest
    package let references: [Reference]
    /// Names that led to another image until now.
    package let moved: [(reference: Reference, previous: Digest)]

    /// Docker's lines: `Loaded image: busybox:latest`, or the id where there is no name.
    package var messages: [String] {
        let renamed = moved.map {
            "The image \($0.reference.familiar) already exists, renaming the old one with ID \($0.previous) to empty string"
        }
        if references.isEmpty { return renamed + ["Loaded image ID: \(id)"] }
        return renamed + references.map { "Loaded image: \($0.familiar)" }
    }
}

/// Where the bytes of one layer are.
struct LayerContent: Sendable {
    let diffID: Digest
    /// The blob by its digest, where the image says which.
    var blob: Descriptor?
    /// The blob in an archive; `nil` if only the store can have it.
    var member: ArchiveMember?
    /// For messages.
    var label: String

    var size: Int64? { blob?.size ?? member?.size }
}

/// What is known of the layers of one load.
///
/// Shared by the threads that read them.
final class LoadProgress: Sendable {
    struct Layer {
        var record: BlobStore.Record
        /// Bytes of the uncompressed tar, if it was read.
        var tarSize: Int64?
    }

    private struct Reading {
        /// The copy that grew as the layer was read; `nil` when it was read from the store.
        var copy: SharedFD?
        var digests: LayerDigests?
    }

    private let batch: BlobBatch
    private let contents: [LayerContent]
    private let readings: Mutex<[Int: Reading]>

    init(batch: BlobBatch, contents: [LayerContent]) {
        self.batch = batch
        self.contents = contents
        readings = Mutex([:])
    }

    /// Begins to read a layer from its start.
    func open(_ index: Int) throws -> LayerStream {
        let content = contents[index]
        if let record = try stored(content) {
            let file = try batch.open(record)
            readings.withLock { $0[index] = Reading(copy: nil) }
            var options = LayerStreamOptions(label: content.label)
            options.expectedBlobDigest = record.digest
            options.expectedDiffID = content.diffID
            return try LayerStream(source: FileRegion(file, offset: 0, length: record.size), options: options)
        }
        guard let member = content.member else {
            throw StorageError(
                .notFound,
                "open layer \(content.diffID): the store has no blob of it",
                remedy: "load the image again"
            )
        }
        let copy = try batch.unnamedFile()
        readings.withLock { $0[index] = Reading(copy: copy) }
        var options = LayerStreamOptions(label: content.label)
        options.expectedBlobDigest = content.blob?.digest
        options.expectedDiffID = content.diffID
        options.blobSink = copy
        options.sinkIsReadSoon = false
        return try LayerStream(source: member.source(), options: options)
    }

    /// Takes the blob of a layer that was read to its end and verified.
    func completed(_ index: Int, _ digests: LayerDigests) throws {
        let content = contents[index]
        guard let reading = readings.withLock({ $0[index] }) else { return }
        if let copy = reading.copy {
            // Only what may be recorded gets a name in the store.
            guard let mediaType = content.blob?.mediaType ?? MediaType.layer(digests.compression) else {
                throw StorageError(
                    .unsupported,
                    "\(content.label): an image's layer cannot be compressed with \(digests.compression.rawValue)"
                )
            }
            if let blob = content.blob, MediaType.layerCompression(blob.mediaType) != digests.compression {
                throw StorageError(
                    .invalid,
                    "\(content.label): called \(shown(blob.mediaType)), but its compression is \(digests.compression.rawValue)"
                )
            }
            try batch.add(
                copy,
                BlobStore.Record(
                    digest: digests.blobDigest,
                    size: digests.blobSize,
                    mediaType: mediaType,
                    diffID: digests.diffID
                )
            )
        }
        readings.withLock { $0[index]?.digests = digests }
    }

    /// The blob of a layer; reads it now if nobody did and the store does not have it.
    func layer(_ index: Int) throws -> Layer {
        if let known = try storedLayer(index) { return known }
        let stream = try open(index)
        try completed(index, try stream.finish())
        guard let known = try storedLayer(index) else {
            throw StorageError(.corrupt, "\(contents[index].label): it was read but its blob is not there")
        }
        return known
    }

    /// The blob of a layer, if the store has it or it was read.
    func storedLayer(_ index: Int) throws -> Layer? {
        guard let record = try stored(contents[index]) else { return nil }
        return Layer(record: record, tarSize: readings.withLock { $0[index]?.digests?.tarSize })
    }

    /// The very blob that the manifest names, or without a manifest any blob of the layer.
    private func stored(_ content: LayerContent) throws -> BlobStore.Record? {
        guard let blob = content.blob else { return try batch.existing(layer: content.diffID) }
        guard let record = try batch.existing(blob.digest) else { return nil }
        guard record.diffID == content.diffID else {
            throw StorageError(
                .invalid,
                "\(content.label): blob \(blob.digest) is not the layer \(content.diffID) that the config names"
            )
        }
        return record
    }
}
