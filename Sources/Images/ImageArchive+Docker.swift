// SPDX-License-Identifier: Apache-2.0

import JSON
import LayerDiff
import Storage

/// docker-archive: `manifest.json` names config, layers and tags by the paths of files.
///
/// Docker since 25 writes an OCI layout around it, some versions one whose manifests have no layers.
extension ImageArchive {
    private struct Item {
        let config: String
        let layers: [String]
        let tags: [Reference]

        init(_ json: JSON, label: String) throws(StorageError) {
            guard let config = json["Config"]?.string,
                let layers = json["Layers"]?.strings ?? (json["Layers"]?.isNull == true ? [] : nil),
                layers.count <= ImageLimits.layers
            else {
                throw StorageError(.invalid, "\(label): manifest.json has no Config, no Layers or too many")
            }
            self.config = config
            self.layers = layers
            var tags: [Reference] = []
            for text in json["RepoTags"]?.strings ?? [] {
                tags.append(try ImageArchive.reference(text, label: label))
            }
            self.tags = tags
        }
    }

    static func dockerImages(
        _ member: ArchiveMember,
        in contents: any ArchiveContents
    ) throws -> [ArchiveImage] {
        let label = contents.label
        let bytes = try member.contents(limit: ImageLimits.manifestBytes, label: "\(label): manifest.json")
        let items: [JSON]
        do throws(JSONError) {
            let limits = JSONLimits(size: ImageLimits.manifestBytes, depth: ImageLimits.depth)
            guard let array = try JSON.parse(bytes, limits: limits).array, !array.isEmpty else {
                throw JSONError(reason: .unexpectedEnd, offset: 0)
            }
            items = array
        } catch {
            throw StorageError(.invalid, "\(label): manifest.json is not a list of images: \(error)")
        }
        guard items.count <= ImageLimits.manifestsOfIndex else {
            throw StorageError(.invalid, "\(label): more than \(ImageLimits.manifestsOfIndex) images")
        }
        let manifests = try ociManifests(in: contents)
        var images: [ArchiveImage] = []
        for json in items {
            let item = try Item(json, label: label)
            images.append(try image(item, in: contents, manifests: manifests))
            try checkSize(images, label: label)
        }
        return images
    }

    private static func image(
        _ item: Item,
        in contents: any ArchiveContents,
        manifests: [Digest: Manifest]
    ) throws -> ArchiveImage {
        let label = contents.label
        guard let config = try contents.member(item.config) else {
            throw StorageError(
                .invalid,
                "\(label): it has no file \(shown(item.config)), which manifest.json names"
            )
        }
        let configBytes = try config.contents(
            limit: ImageLimits.configBytes,
            label: "\(label): \(shown(item.config))"
        )
        var members: [(member: ArchiveMember, blob: Descriptor?)] = []
        for name in item.layers {
            guard let member = try contents.member(name) else {
                throw StorageError(
                    .invalid,
                    "\(label): it has no file \(shown(name)), which manifest.json names as a layer"
                )
            }
            members.append((member, nil))
        }
        // The manifest that came along is kept if it says the same: then the image goes out as it came in.
        if let manifest = manifests[.sha256(of: configBytes)], manifest.layers.count == members.count {
            let blobs = try manifest.layers.map { try contents.blob($0.digest) }
            if zip(blobs, members).allSatisfy({ $0?.place == $1.member.place }) {
                return try ArchiveImage(manifest: manifest, in: contents, references: item.tags)
            }
        }
        return try ArchiveImage(
            configBytes: configBytes,
            manifest: nil,
            members: members,
            references: item.tags,
            label: label
        )
    }

    /// The manifests of an OCI layout around a docker-archive, by config.
    ///
    /// What is wrong with them does not count here.
    private static func ociManifests(in contents: any ArchiveContents) throws -> [Digest: Manifest] {
        guard let member = try contents.member("index.json"),
            let bytes = try? member.contents(limit: ImageLimits.manifestBytes, label: "index.json"),
            let index = try? Index(parsing: bytes, as: nil, label: "index.json")
        else { return [:] }
        var manifests: [Digest: Manifest] = [:]
        for descriptor in index.manifests where MediaType.isManifest(descriptor.mediaType) {
            if let bytes = try? contents.document(descriptor, limit: ImageLimits.manifestBytes),
                let manifest = try? Manifest(parsing: bytes, as: descriptor.mediaType, label: "")
            {
                manifests[manifest.config.digest] = manifest
            }
        }
        return manifests
    }
}
