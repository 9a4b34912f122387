// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import Storage

extension ImageStore {
    /// Begins to load an image of an archive.
    package func load(_ image: ArchiveImage) throws -> ImageLoad {
        try blobs.establish()
        let batch = BlobBatch(blobs)
        // A docker-archive does not say how its layers shall lie in the store: if the image is here, it stays
        // as it is.
        var manifest = image.manifest
        if manifest == nil, let known = try self.image(image.id)?.manifestDigest {
            manifest = try heldManifest(known, in: batch)
        }
        let contents = image.layers.enumerated().map { index, layer in
            LayerContent(
                diffID: layer.diffID,
                blob: manifest?.layers[index],
                member: layer.member,
                label: "layer \(layer.blob?.digest ?? layer.diffID)"
            )
        }
        return try ImageLoad(
            store: self,
            batch: batch,
            config: image.config,
            configBytes: image.configBytes,
            manifest: manifest,
            references: image.references,
            contents: contents
        )
    }

    /// The manifest of an image of this store, if all its blobs are there; they stay as long as `batch`
    /// lives.
    private func heldManifest(_ digest: Digest, in batch: BlobBatch) throws -> Manifest? {
        guard let record = try batch.existing(digest) else { return nil }
        let bytes = try blobs.contents(digest, limit: ImageLimits.manifestBytes)
        let manifest = try Manifest(parsing: bytes, as: record.mediaType, label: "manifest \(digest)")
        for layer in manifest.layers where try batch.existing(layer.digest) == nil { return nil }
        return manifest
    }

    /// The layers of an image, read from their blobs; `open` fails with `.notFound` for one that has none
    /// yet.
    ///
    /// A layer may be read as long as its source lives; nothing is locked before `open`.
    package func sources(of id: Digest) throws -> [LayerSource] {
        try layers(of: id).map { layer in
            let content = LayerContent(diffID: layer.diffID, label: "layer \(layer.diffID)")
            let blobs = blobs
            let size = try layer.blob.flatMap { try blobs.record(of: $0)?.size }
            return LayerSource(
                diffID: layer.diffID,
                chainID: layer.chainID,
                size: size,
                open: { try LoadProgress(batch: BlobBatch(blobs), contents: [content]).open(0) }
            )
        }
    }
}
