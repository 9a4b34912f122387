// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
package import LinuxSys
import Storage
package import StoreRoot

/// The images of a store: rows, and blobs in `oci/`.
///
/// An image's id is the digest of its config. Its row appears in one durable transaction with its names,
/// after all its blobs are on disk. A layer without a blob (a committed one) gets it when it is first asked
/// for.
package final class ImageStore: Sendable {
    package let root: StoreRoot
    package let blobs: BlobStore
    /// Whether what is recorded is on disk first; false gives up durability for speed.
    package let isDurable: Bool
    let warn: @Sendable (String) -> Void

    /// - Parameter warn: gets what the user should know though nothing failed.
    package init(
        _ root: StoreRoot,
        durable: Bool = true,
        warn: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.root = root
        self.warn = warn
        blobs = BlobStore(root)
        isDurable = durable
    }

    var database: Database { root.database }
}

/// An image as its row says.
package struct Image: Sendable {
    package let id: Digest
    /// `nil` while a layer has no blob.
    package let manifestDigest: Digest?
    /// The image it was committed from.
    package let parent: Digest?
    package let created: Timestamp
    /// When it came into this store, or was last named.
    package let added: Timestamp
    /// Bytes of all layers, unpacked.
    package let size: Int64
    package let configBytes: [UInt8]

    /// The first 12 digits, as listings show them.
    package var shortID: String { String(id.hex.prefix(12)) }

    package func config() throws -> ImageConfig {
        try ImageConfig(parsing: configBytes, label: "image \(id)")
    }
}

/// A layer of an image as its row says.
package struct ImageLayer: Sendable {
    package let diffID: Digest
    package let chainID: Digest
    package let blob: Digest?
    /// Bytes of its tar, uncompressed, where that is known.
    package let size: Int64?
}

extension ImageStore {
    private static let columns = "id, manifest_digest, parent, created, added, size, config"

    private static func image(_ row: Row) throws -> Image {
        guard let id = Digest(row.text(0)) else {
            throw StorageError(.corrupt, "read an image's row: bad id \(row.text(0))")
        }
        return Image(
            id: id,
            manifestDigest: row.optionalText(1).flatMap { Digest($0) },
            parent: row.optionalText(2).flatMap { Digest($0) },
            created: Timestamp(wholeNanoseconds: row.integer(3)),
            added: Timestamp(wholeNanoseconds: row.integer(4)),
            size: row.integer(5),
            configBytes: row.blob(6)
        )
    }

    package func image(_ id: Digest) throws -> Image? {
        try database.first(
            "SELECT \(Self.columns) FROM images WHERE id = ?",
            [.text("\(id)")],
            row: Self.image
        )
    }

    private func image(named reference: Reference) throws -> Image? {
        try database.first(
            """
            SELECT \(Self.columns) FROM images
            WHERE id = (SELECT image FROM image_references WHERE name = ?)
            """,
            [.text("\(reference)")],
            row: Self.image
        )
    }

    /// All images, the newest first.
    package func images() throws -> [Image] {
        try database.query("SELECT \(Self.columns) FROM images ORDER BY created DESC, id", row: Self.image)
    }

    /// The image a user means: by name, by id or by the start of an id, in this order.
    ///
    /// Fails with `.notFound` and Docker's words.
    package func resolve(_ text: String) throws -> Image { try resolveNamed(text).image }

    /// The same, with the name by which it was found; `nil` if that was an id.
    package func resolveNamed(_ text: String) throws -> (image: Image, reference: Reference?) {
        switch try ImageSelector(text) {
        case .id(let digest):
            if let image = try image(digest) { return (image, nil) }
            throw StorageError(.notFound, "No such image: \(text)")
        case .name(let reference, let prefix):
            if let image = try image(named: reference.tagged) { return (image, reference.tagged) }
            if let prefix, let image = try image(withPrefix: prefix) { return (image, nil) }
            throw StorageError(.notFound, "No such image: \(reference.tagged.familiar)")
        }
    }

    private func image(withPrefix prefix: String) throws -> Image? {
        let found = try database.query(
            "SELECT \(Self.columns) FROM images WHERE id >= ? AND id < ? LIMIT 2",
            [.text("sha256:\(prefix)"), .text("sha256:\(prefix)g")],
            row: Self.image
        )
        guard found.count < 2 else {
            throw StorageError(.invalid, "more than one image has an id that begins with \(prefix)")
        }
        return found.first
    }

    /// The layers of an image, base first.
    package func layers(of id: Digest) throws -> [ImageLayer] {
        try database.query(
            "SELECT diff_id, chain_id, blob, size FROM image_layers WHERE image = ? ORDER BY position",
            [.text("\(id)")]
        ) { row in
            guard let diffID = Digest(row.text(0)), let chainID = Digest(row.text(1)) else {
                throw StorageError(.corrupt, "read the layers of image \(id): bad digest in a row")
            }
            return ImageLayer(
                diffID: diffID,
                chainID: chainID,
                blob: row.optionalText(2).flatMap { Digest($0) },
                size: row.optionalInteger(3)
            )
        }
    }
}

// MARK: - Names

extension ImageStore {
    /// The id of the image that a name stands for.
    func target(of reference: Reference) throws -> Digest? {
        try database.first("SELECT image FROM image_references WHERE name = ?", [.text("\(reference)")]) {
            row in
            Digest(row.text(0))
        }.flatMap(\.self)
    }

    /// The names of an image, sorted.
    package func references(of id: Digest) throws -> [Reference] {
        try database.query(
            "SELECT name FROM image_references WHERE image = ? ORDER BY name",
            [.text("\(id)")]
        ) { try Reference(parsing: $0.text(0)) }
    }

    /// Every name with the id of its image, sorted.
    package func references() throws -> [(reference: Reference, image: Digest)] {
        try database.query("SELECT name, image FROM image_references ORDER BY name") { row in
            (try Reference(parsing: row.text(0)), Digest(row.text(1)))
        }.compactMap { pair in pair.1.map { (pair.0, $0) } }
    }

    /// Gives the image `source` one more name, taking it from whatever had it.
    package func tag(_ source: String, as target: String) throws {
        let image = try resolve(source)
        let reference = try Reference(naming: target)
        try database.transaction(durable: isDurable) { transaction in
            guard
                try transaction.first(
                    "SELECT 1 FROM images WHERE id = ?",
                    [.text("\(image.id)")],
                    row: { _ in 0 }
                ) != nil
            else {
                throw StorageError(.notFound, "No such image: \(source)")
            }
            try Self.insert([reference], for: image.id, in: transaction)
        }
        updateIndex()
    }

    /// - Returns: the names that led to another image until now, with that image's id.
    @discardableResult
    static func insert(
        _ references: [Reference],
        for id: Digest,
        in transaction: Transaction
    ) throws -> [(reference: Reference, previous: Digest)] {
        var moved: [(reference: Reference, previous: Digest)] = []
        for reference in references {
            let previous = try transaction.first(
                "SELECT image FROM image_references WHERE name = ?",
                [.text("\(reference)")]
            ) { Digest($0.text(0)) }
            if let previous, let previous, previous != id { moved.append((reference, previous)) }
            try transaction.run(
                """
                INSERT INTO image_references (name, image, created) VALUES (?, ?, ?)
                ON CONFLICT (name) DO UPDATE SET image = excluded.image, created = excluded.created
                """,
                [.text("\(reference)"), .text("\(id)"), .integer(Timestamp.now.wholeNanoseconds)]
            )
        }
        return moved
    }
}
