// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import Storage
import StoreRoot

/// Writes the tar of a layer that has no blob yet: the same bytes whose digest its DiffID is.
///
/// Called with the ChainID of the layer, by which it is found whatever driver has it.
package typealias LayerBlobMaker = (_ chainID: Digest, _ diffID: Digest, _ sink: any ByteSink) throws -> Void

extension ImageStore {
    /// Gives an image what it lacks to leave this store: blobs of its layers (plain tars), config and
    /// manifest.
    ///
    /// All is durable and recorded when this returns. Fails with `.corrupt` if what `make` wrote has not the
    /// layer's DiffID.
    @discardableResult
    package func complete(_ id: Digest, make: LayerBlobMaker) throws -> Image {
        guard let image = try image(id) else { throw StorageError(.notFound, "No such image: \(id)") }
        if image.manifestDigest != nil { return image }
        let config = try image.config()
        let batch = BlobBatch(blobs)
        var descriptors: [Descriptor] = []
        for layer in try layers(of: id) {
            let record = try batch.existing(layer: layer.diffID) ?? makeBlob(layer, in: batch, make)
            descriptors.append(
                Descriptor(mediaType: record.mediaType, digest: record.digest, size: record.size)
            )
        }
        let manifest = Manifest(
            config: try batch.add(image.configBytes, mediaType: MediaType.ociConfig),
            layers: descriptors
        )
        try batch.add(manifest.bytes, mediaType: manifest.mediaType)
        try batch.publish(sync: isDurable)
        let record = ImageRecord(
            id: id,
            manifest: manifest.digest,
            parent: image.parent,
            config: config,
            configBytes: image.configBytes,
            layers: descriptors.map { ($0.digest, nil) }
        )
        try database.transaction(durable: isDurable) { transaction in
            guard
                try transaction.first(
                    "SELECT 1 FROM images WHERE id = ?",
                    [.text("\(id)")],
                    row: { _ in true }
                ) == true
            else {
                throw StorageError(.notFound, "No such image: \(id)")
            }
            try batch.insertRows(in: transaction)
            try record.insert(in: transaction)
        }
        updateIndex()
        return try self.image(id) ?? image
    }

    private func makeBlob(
        _ layer: ImageLayer,
        in batch: BlobBatch,
        _ make: LayerBlobMaker
    ) throws -> BlobStore.Record {
        let file = try batch.unnamedFile()
        let output = DescriptorSink(file)
        let sink = HashingSink(next: output)
        try doing("write the blob of layer \(layer.diffID)") {
            try make(layer.chainID, layer.diffID, sink)
            try output.flush()
        }
        guard sink.finish() == layer.diffID else {
            throw StorageError(
                .corrupt,
                "write the blob of layer \(layer.diffID): the blob is gone, and the layer gives another than it was made of",
                remedy: "load the image again"
            )
        }
        let record = BlobStore.Record(
            digest: layer.diffID,
            size: sink.count,
            mediaType: MediaType.ociLayer,
            diffID: layer.diffID
        )
        try batch.add(file, record)
        return record
    }
}
