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
    /// Compares every blob with its digest, and every image with its blobs and layers.
    ///
    /// Cost: all blobs are read.
    ///
    /// - Parameters:
    ///   - repair: drops what is damaged, so that loading the image again brings it; configs are written again from the
    ///     rows. A blob that somebody holds just now, or that cannot be read, is left as it is.
    ///   - cancelled: asked all the time.
    package func check(repair: Bool, cancelled: @escaping () -> Bool = { false }) throws -> [ImageProblem] {
        var problems: [ImageProblem] = []
        let records = try database.query("SELECT digest, size, media_type FROM blobs ORDER BY digest") {
            row in
            Digest(row.text(0)).map {
                BlobStore.Record(digest: $0, size: row.integer(1), mediaType: row.text(2), diffID: nil)
            }
        }.compactMap(\.self)
        for record in records {
            switch try condition(of: record, cancelled) {
            case .whole: break
            case .unreadable(let reason):
                problems.append(ImageProblem(description: reason, isRepaired: false))
            case .damaged(let damage):
                do {
                    if let problem = try mend(record, repair, cancelled) { problems.append(problem) }
                } catch let error as StorageError where error.code != .interrupted {
                    problems.append(
                        ImageProblem(description: "\(damage); not mended: \(error)", isRepaired: false)
                    )
                }
            }
        }
        problems += try checkImages()
        problems += try checkNames(repair: repair)
        if problems.contains(where: \.isRepaired) { updateIndex() }
        return problems
    }

    private enum Condition {
        case whole
        /// It is not what its name says, which only another copy cures.
        case damaged(String)
        /// That cannot be told.
        case unreadable(String)
    }

    private func condition(of record: BlobStore.Record, _ cancelled: () -> Bool) throws -> Condition {
        do {
            let file = try blobs.open(record)
            let region = FileRegion(file, offset: 0, length: record.size)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
            defer { buffer.deallocate() }
            var hasher = SHA256Hasher()
            while true {
                if cancelled() { throw StorageError(.interrupted, "check blobs: interrupted") }
                let count = try doing("read blob \(record.digest)") { try region.read(into: buffer) }
                if count == 0 { break }
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            let digest = hasher.finish()
            return digest == record.digest
                ? .whole : .damaged("blob \(record.digest): its content has the digest \(digest)")
        } catch let error as StorageError where error.code != .interrupted {
            return error.code == .corrupt ? .damaged(error.message) : .unreadable("\(error)")
        }
    }

    /// Looks again at a blob that seemed damaged: it may have been removed, and made anew.
    ///
    /// - Returns: `nil` if there is no such blob, or nothing wrong with it.
    private func mend(
        _ record: BlobStore.Record,
        _ repair: Bool,
        _ cancelled: () -> Bool
    ) throws -> ImageProblem? {
        let lock = repair ? try blobs.lock(record.digest, .exclusive, wait: false) : nil
        defer { withExtendedLifetime(lock) {} }
        guard try blobs.record(of: record.digest) != nil,
            case .damaged(let damage) = try condition(of: record, cancelled)
        else { return nil }
        if lock == nil { return ImageProblem(description: damage, isRepaired: false) }
        // The row goes last: as long as it is there, the damage is seen again.
        try doing("remove \(blobs.path(of: record.digest))") {
            try Files.removeTree(blobs.path(of: record.digest))
        }
        if let config = try image(record.digest)?.configBytes {
            try write(config, as: record.digest)
            return ImageProblem(description: damage, isRepaired: true)
        }
        try forget(record)
        return ImageProblem(description: "\(damage); it was taken out", isRepaired: true)
    }

    private func write(_ config: [UInt8], as digest: Digest) throws {
        let file = try blobs.unnamedFile()
        try doing("write blob \(digest)") {
            try Files.writeAll(config, to: file.raw)
            if isDurable { try system("fsync") { fsync(file.raw) } }
        }
        try blobs.publish(file, as: digest)
    }

    /// Takes a blob out of the images that name it.
    private func forget(_ record: BlobStore.Record) throws {
        let digest = SQLValue.text("\(record.digest)")
        try database.transaction(durable: isDurable, freesSpace: true) { transaction in
            try transaction.run("DELETE FROM blobs WHERE digest = ?", [digest])
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
    }

    private func checkImages() throws -> [ImageProblem] {
        var problems: [ImageProblem] = []
        for image in try images() {
            var found: [String] = []
            if Digest.sha256(of: image.configBytes) != image.id {
                found.append("its config has another digest")
            }
            let layers = try layers(of: image.id)
            if let manifest = image.manifestDigest {
                for digest in [manifest, image.id] + layers.compactMap(\.blob)
                where try blobs.record(of: digest) == nil { found.append("blob \(digest) is missing") }
            }
            found += try layers.compactMap { try loss(of: $0) }
            // What was seen of one that is removed or loaded meanwhile says nothing.
            guard !found.isEmpty, let now = try self.image(image.id),
                now.manifestDigest == image.manifestDigest
            else { continue }
            let name = try references(of: image.id).first?.familiar
            let label = name.map { "\($0) (\(image.shortID))" } ?? image.shortID
            problems += found.map {
                ImageProblem(
                    description: "image \(label): \($0); load it again, or remove it",
                    isRepaired: false
                )
            }
        }
        return problems
    }

    /// What an image lacks of a layer; `nil` where there is a blob, or a layer that gives it.
    private func loss(of layer: ImageLayer) throws -> String? {
        if layer.blob != nil { return nil }
        let kept = try database.query(
            "SELECT content FROM layers WHERE chain_id = ? AND kind = 'image' AND sealed = 1",
            [.text("\(layer.chainID)")]
        ) { $0.optionalText(0) }
        if kept.contains("\(layer.diffID)") { return nil }
        return kept.isEmpty
            ? "neither a blob nor a driver has its layer \(layer.diffID)"
            : "it runs, but without the blob of layer \(layer.diffID) it cannot be saved"
    }

    private func checkNames(repair: Bool) throws -> [ImageProblem] {
        let lost = try database.query(
            "SELECT name FROM image_references WHERE NOT EXISTS (SELECT 1 FROM images WHERE id = image)"
        ) { $0.text(0) }
        return lost.map { name in
            var problem = ImageProblem(description: "name \(name): its image is missing", isRepaired: repair)
            guard repair else { return problem }
            do {
                try database.transaction(durable: isDurable, freesSpace: true) { transaction in
                    try transaction.run("DELETE FROM image_references WHERE name = ?", [.text(name)])
                }
            } catch {
                problem = ImageProblem(
                    description: "\(problem.description); not mended: \(error)",
                    isRepaired: false
                )
            }
            return problem
        }
    }
}
