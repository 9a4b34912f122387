// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

extension ImageStore {
    private static let indexLock = "index"

    /// Rewrites `oci/index.json` from the rows: one entry for each name, and one for an image without a name.
    ///
    /// It is output only, so it is replaced as a whole but not synced. The reference name is the short form,
    /// which other tools take as it is: `skopeo inspect oci:<root>/oci:busybox:latest`.
    ///
    /// Due after each change of the rows, which is done then: that the index cannot be written undoes nothing, and is told.
    package func updateIndex() {
        do {
            try writeIndex()
        } catch {
            warn("\(error); it is older than the images now, and written anew with their next change")
        }
    }

    private func writeIndex() throws {
        try blobs.establish()
        // Whoever writes last must have read last.
        let lock = try root.lock(Self.indexLock, .exclusive)
        defer { withExtendedLifetime(lock) {} }
        var entries: [Descriptor] = []
        let rows = try database.query(
            """
            SELECT images.manifest_digest, blobs.media_type, blobs.size, image_references.name
            FROM images JOIN blobs ON blobs.digest = images.manifest_digest
            LEFT JOIN image_references ON image_references.image = images.id
            ORDER BY image_references.name, images.id
            """
        ) { ($0.text(0), $0.text(1), $0.integer(2), $0.optionalText(3)) }
        for (digest, mediaType, size, name) in rows {
            guard let digest = Digest(digest) else { continue }
            var entry = Descriptor(mediaType: mediaType, digest: digest, size: size)
            if let name {
                entry.annotations[ImageArchive.imageNameAnnotation] = name
                entry.annotations[ImageArchive.referenceNameAnnotation] = try Reference(parsing: name)
                    .familiar
            }
            entries.append(entry)
        }
        let bytes = Index(entries).bytes
        try doing("write \(blobs.path.appending("index.json"))") {
            try Files.replace(blobs.path.appending("index.json"), with: bytes, mode: 0o644, durable: false)
        }
    }
}
