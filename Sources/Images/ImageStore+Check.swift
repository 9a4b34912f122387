// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import StoreRoot

/// Something in the image rows or the content store that is not as it should be.
package struct ImageProblem: Sendable, CustomStringConvertible {
    /// One line.
    package let description: String
    package let isRepaired: Bool
}

extension ImageStore {
    /// Compares every blob with its digest, and every image with its blobs.
    ///
    /// Cost: all blobs are read.
    ///
    /// - Parameters:
    ///   - repair: drops what is damaged, so that loading the image again brings it; configs are written again from the
    ///     rows. A blob that somebody holds just now is left as it is.
    ///   - cancelled: asked before each blob.
    package func check(repair: Bool, cancelled: () -> Bool = { false }) throws -> [ImageProblem] {
        var problems: [ImageProblem] = []
        let records = try database.query("SELECT digest, size, media_type FROM blobs ORDER BY digest") {
            row in
            Digest(row.text(0)).map {
                BlobStore.Record(digest: $0, size: row.integer(1), mediaType: row.text(2), diffID: nil)
            }
        }.compactMap(\.self)
        for record in records {
            if cancelled() { throw StorageError(.interrupted, "check blobs: interrupted") }
            // Of one that somebody removed meanwhile the row went first.
            guard let damage = try damage(of: record), try blobs.record(of: record.digest) != nil else {
                continue
            }
            let isRepaired = try repair && drop(record)
            problems.append(
                ImageProblem(description: "blob \(record.digest): \(damage)", isRepaired: isRepaired)
            )
        }
        problems += try checkImages(repair: repair)
        if problems.contains(where: \.isRepaired) { updateIndex() }
        return problems
    }

    /// What is wrong with a blob; `nil` if nothing is.
    private func damage(of record: BlobStore.Record) throws -> String? {
        let file: SharedFD
        do {
            file = try blobs.open(record)
        } catch let error as StorageError where error.code == .corrupt {
            return error.message
        }
        var hasher = SHA256Hasher()
        let region = FileRegion(file, offset: 0, length: record.size)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        do {
            while true {
                let count = try region.read(into: buffer)
                if count == 0 { break }
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        } catch {
            return "\(error)"
        }
        let digest = hasher.finish()
        return digest == record.digest ? nil : "its content has the digest \(digest)"
    }

    /// Takes a damaged blob out of the store and out of the images that name it.
    ///
    /// - Returns: false if somebody holds it.
    private func drop(_ record: BlobStore.Record) throws -> Bool {
        let config = try image(record.digest)?.configBytes
        guard try dropRows(record, isConfig: config != nil) else { return false }
        // Takes the lock again, which is free by now.
        if let config { try rewrite(config, mediaType: record.mediaType) }
        return true
    }

    private func dropRows(_ record: BlobStore.Record, isConfig: Bool) throws -> Bool {
        guard let lock = try blobs.lock(record.digest, .exclusive, wait: false) else { return false }
        defer { withExtendedLifetime(lock) {} }
        let digest = SQLValue.text("\(record.digest)")
        try database.transaction(durable: isDurable) { transaction in
            try transaction.run("DELETE FROM blobs WHERE digest = ?", [digest])
            if isConfig { return }
            try transaction.run("UPDATE image_layers SET blob = NULL WHERE blob = ?", [digest])
            // Without all its blobs an image has no manifest; the layers tell which images those are.
            try transaction.run(
                """
                UPDATE images SET manifest_digest = NULL WHERE manifest_digest = ?1
                OR EXISTS (SELECT 1 FROM image_layers WHERE image = images.id AND blob IS NULL)
                """,
                [digest]
            )
        }
        _ = try? Files.unlink(blobs.path(of: record.digest))
        return true
    }

    private func rewrite(_ bytes: [UInt8], mediaType: String) throws {
        let batch = BlobBatch(blobs)
        try batch.add(bytes, mediaType: mediaType)
        try batch.publish(sync: isDurable)
        try database.transaction(durable: isDurable) { try batch.insertRows(in: $0) }
    }

    private func checkImages(repair: Bool) throws -> [ImageProblem] {
        var problems: [ImageProblem] = []
        for image in try images() {
            if Digest.sha256(of: image.configBytes) != image.id {
                problems.append(
                    ImageProblem(
                        description: "image \(image.id): its config has another digest",
                        isRepaired: false
                    )
                )
            }
            guard let manifest = image.manifestDigest else { continue }
            let layers = try layers(of: image.id)
            let missing = try ([manifest, image.id] + layers.compactMap(\.blob)).filter {
                try blobs.record(of: $0) == nil
            }
            if missing.isEmpty { continue }
            let isGone = try self.image(image.id)?.manifestDigest != manifest
            for digest in missing where !isGone {
                problems.append(
                    ImageProblem(
                        description: "image \(image.id): blob \(digest) is missing",
                        isRepaired: false
                    )
                )
            }
        }
        let lost = try database.query(
            "SELECT name FROM image_references WHERE NOT EXISTS (SELECT 1 FROM images WHERE id = image)"
        ) { $0.text(0) }
        for name in lost {
            if repair {
                try database.transaction(durable: isDurable) { transaction in
                    try transaction.run("DELETE FROM image_references WHERE name = ?", [.text(name)])
                }
            }
            problems.append(
                ImageProblem(description: "name \(name): its image is missing", isRepaired: repair)
            )
        }
        return problems
    }
}
