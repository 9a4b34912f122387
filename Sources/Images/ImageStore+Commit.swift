// SPDX-License-Identifier: Apache-2.0

package import JSON
package import LayerDiff
package import LinuxSys
import Storage
package import StoreRoot

/// A new image on top of another: what a container's changes become.
package struct ImageCommit: Sendable {
    /// `nil` for an image without a parent.
    package var parent: Image?
    package var diffID: Digest
    /// Bytes of the layer's tar.
    package var size: Int64
    package var author = ""
    package var message = ""
    /// What made the layer, for the history: the container's command.
    package var createdBy = ""
    package var changes: ConfigChanges?
    /// The container's own settings over those of the image (Docker's names), if they shall go into the
    /// image.
    package var process: JSONObject?
    package var created = Timestamp.now
    package var references: [Reference] = []

    package init(parent: Image?, diffID: Digest, size: Int64) {
        self.parent = parent
        self.diffID = diffID
        self.size = size
    }
}

/// A new image whose rows are not written yet, so that they can be written together with its layer's.
package struct PreparedImage: Sendable {
    package let id: Digest
    package let config: ImageConfig
    package let references: [Reference]
    let record: ImageRecord

    /// Writes the rows, which are all there is of it.
    ///
    /// `ImageStore.updateIndex` is due after the transaction.
    @discardableResult
    package func insert(in transaction: Transaction) throws -> LoadedImage {
        // Its base must still be there: an image without it would have layers that nobody keeps.
        if let parent = record.parent {
            let isThere = try transaction.first("SELECT 1 FROM images WHERE id = ?", [.text("\(parent)")]) {
                _ in true
            }
            guard isThere == true else {
                throw StorageError(.notFound, "commit image \(id): No such image: \(parent), its base")
            }
        }
        try record.insert(in: transaction)
        let moved = try ImageStore.insert(references, for: id, in: transaction)
        return LoadedImage(id: id, references: references, moved: moved)
    }
}

extension ImageStore {
    /// Makes the config of a new image, which its row holds; blobs of it, of its manifest and of its top
    /// layer are made when they are first asked for.
    ///
    /// So nothing is written here.
    package func prepare(_ commit: ImageCommit) throws -> PreparedImage {
        var config: ImageConfig
        if let parent = commit.parent {
            config = try parent.config()
        } else {
            config = ImageConfig(platform: .host)
        }
        guard config.diffIDs.count < ImageLimits.layers else {
            throw StorageError(
                .unsupported,
                "commit: the image would have more than \(ImageLimits.layers) layers"
            )
        }
        var process = commit.process ?? config.process
        try commit.changes?.apply(to: &process)
        config.process = process
        config.append(
            commit.diffID,
            ImageConfig.HistoryEntry(
                created: commit.created,
                createdBy: commit.createdBy,
                author: commit.author,
                comment: commit.message
            )
        )
        config.set(created: commit.created, author: commit.author, comment: commit.message)
        let bytes = config.bytes
        let parentLayers = try commit.parent.map { try layers(of: $0.id) } ?? []
        return PreparedImage(
            id: .sha256(of: bytes),
            config: config,
            references: commit.references,
            record: ImageRecord(
                id: .sha256(of: bytes),
                manifest: nil,
                parent: commit.parent?.id,
                config: config,
                configBytes: bytes,
                layers: parentLayers.map { ($0.blob, $0.size) } + [(nil, commit.size)]
            )
        )
    }

    /// Records a prepared image alone.
    @discardableResult
    package func record(_ prepared: PreparedImage) throws -> LoadedImage {
        let loaded = try database.transaction(durable: isDurable) { try prepared.insert(in: $0) }
        updateIndex()
        return loaded
    }
}
