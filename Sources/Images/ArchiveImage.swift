// SPDX-License-Identifier: Apache-2.0

import JSON
package import LayerDiff
import Storage

/// One image of an archive: its documents are read and checked, its layers are not read yet.
package struct ArchiveImage: Sendable {
    package let config: ImageConfig
    /// The config as it came; its digest is the image's id.
    package let configBytes: [UInt8]
    package let id: Digest
    /// The manifest as it came; `nil` in a docker-archive, which has none.
    let manifest: Manifest?
    /// Base first, as many as the config has DiffIDs.
    let layers: [Layer]
    /// The names it goes by; the caller may change them before loading.
    package var references: [Reference]

    struct Layer: Sendable {
        let diffID: Digest
        let member: ArchiveMember
        /// What the manifest says of the blob.
        let blob: Descriptor?
    }

    init(
        configBytes: [UInt8],
        manifest: Manifest?,
        members: [(member: ArchiveMember, blob: Descriptor?)],
        references: [Reference],
        label: String
    ) throws {
        let id = Digest.sha256(of: configBytes)
        let config = try ImageConfig(parsing: configBytes, label: "\(label): config \(id)")
        guard config.platform.os == "linux" else {
            throw StorageError(
                .unsupported,
                "\(label): image \(id) is made for \(shown(config.platform.description))",
                remedy: "only Linux images can be used"
            )
        }
        guard config.diffIDs.count == members.count else {
            throw StorageError(
                .invalid,
                "\(label): image \(id) has \(members.count) layers, but its config has \(config.diffIDs.count) DiffIDs"
            )
        }
        self.config = config
        self.configBytes = configBytes
        self.id = id
        self.manifest = manifest
        self.references = references
        layers = zip(config.diffIDs, members).map { Layer(diffID: $0, member: $1.member, blob: $1.blob) }
    }

    /// The image of a manifest whose blobs lie in an OCI layout.
    init(manifest: Manifest, in contents: any ArchiveContents, references: [Reference]) throws {
        let label = contents.label
        let configBytes = try contents.document(manifest.config, limit: ImageLimits.configBytes)
        var members: [(member: ArchiveMember, blob: Descriptor?)] = []
        for layer in manifest.layers {
            guard let member = try contents.blob(layer.digest) else {
                throw StorageError(.invalid, "\(label): it has no blob \(layer.digest), which is a layer")
            }
            guard member.size == layer.size else {
                throw StorageError(
                    .invalid,
                    "\(label): layer \(layer.digest) has \(member.size) bytes in place of \(layer.size)"
                )
            }
            members.append((member, layer))
        }
        try self.init(
            configBytes: configBytes,
            manifest: manifest,
            members: members,
            references: references,
            label: label
        )
    }
}
