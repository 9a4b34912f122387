// SPDX-License-Identifier: Apache-2.0

import JSON
import LayerDiff
import Storage

/// OCI image layout, as a directory or in a tar (oci-archive).
extension ImageArchive {
    static let imageNameAnnotation = "io.containerd.image.name"
    static let referenceNameAnnotation = "org.opencontainers.image.ref.name"
    private static let artifactAnnotation = "vnd.docker.reference.type"

    static func ociImages(
        _ member: ArchiveMember,
        in contents: any ArchiveContents,
        platform: Platform
    ) throws -> [ArchiveImage] {
        let label = contents.label
        let bytes = try member.contents(limit: ImageLimits.manifestBytes, label: "\(label): index.json")
        let index = try Index(parsing: bytes, as: nil, label: "\(label): index.json")
        var images: [ArchiveImage] = []
        for group in groups(index.manifests) {
            guard let manifest = try select(group, in: contents, platform: platform, depth: 0) else {
                continue
            }
            var references: [Reference] = []
            for descriptor in group {
                if let name = name(of: descriptor) {
                    let reference = try reference(name, label: label)
                    if !references.contains(reference) { references.append(reference) }
                }
            }
            if let known = images.firstIndex(where: { $0.manifest?.digest == manifest.digest }) {
                images[known].references += references.filter { !images[known].references.contains($0) }
            } else {
                images.append(try ArchiveImage(manifest: manifest, in: contents, references: references))
                try checkSize(images, label: label)
            }
        }
        guard !images.isEmpty else { throw StorageError(.invalid, "\(label): it holds no image") }
        return images
    }

    private static func name(of descriptor: Descriptor) -> String? {
        let annotations = descriptor.annotations
        return annotations[imageNameAnnotation] ?? annotations[referenceNameAnnotation]
    }

    /// Entries of one name are the platforms of one image, and so are entries without a name that say their
    /// platform.
    private static func groups(_ descriptors: [Descriptor]) -> [[Descriptor]] {
        var order: [String] = []
        var groups: [String: [Descriptor]] = [:]
        for descriptor in descriptors where isImage(descriptor) {
            let anonymous = descriptor.platform == nil ? "@\(descriptor.digest)" : "@"
            let key = name(of: descriptor) ?? anonymous
            if groups[key] == nil { order.append(key) }
            groups[key, default: []].append(descriptor)
        }
        return order.compactMap { groups[$0] }
    }

    /// Attestations and other things that travel in an index are no images.
    private static func isImage(_ descriptor: Descriptor) -> Bool {
        (MediaType.isManifest(descriptor.mediaType) || MediaType.isIndex(descriptor.mediaType))
            && descriptor.annotations[artifactAnnotation] == nil && descriptor.platform?.os != "unknown"
    }

    /// The manifest for `platform`; a single one is taken whatever it is made for.
    private static func select(
        _ descriptors: [Descriptor],
        in contents: any ArchiveContents,
        platform: Platform,
        depth: Int
    ) throws -> Manifest? {
        let label = contents.label
        guard depth < ImageLimits.indexDepth else {
            throw StorageError(.invalid, "\(label): indexes nested deeper than \(ImageLimits.indexDepth)")
        }
        let candidates = descriptors.filter(isImage)
        guard candidates.count > 1 else {
            guard let only = candidates.first else { return nil }
            return try manifest(only, in: contents, platform: platform, depth: depth)
        }
        var best: (rank: Int, descriptor: Descriptor)?
        var found: [String] = []
        for descriptor in candidates {
            let made = try descriptor.platform ?? platformOfConfig(descriptor, in: contents)
            found.append(made?.description ?? "unknown")
            guard let rank = made?.rank(for: platform) else { continue }
            if best.map({ rank < $0.rank }) ?? true { best = (rank, descriptor) }
        }
        guard let best else {
            throw StorageError(
                .unsupported,
                "\(label): no image for \(platform), only for \(shown(found.joined(separator: ", ")))"
            )
        }
        return try manifest(best.descriptor, in: contents, platform: platform, depth: depth)
    }

    private static func manifest(
        _ descriptor: Descriptor,
        in contents: any ArchiveContents,
        platform: Platform,
        depth: Int
    ) throws -> Manifest? {
        let bytes = try contents.document(descriptor, limit: ImageLimits.manifestBytes)
        let label = "\(contents.label): \(descriptor.digest)"
        if MediaType.isManifest(descriptor.mediaType) {
            return try Manifest(parsing: bytes, as: descriptor.mediaType, label: label)
        }
        let index = try Index(parsing: bytes, as: descriptor.mediaType, label: label)
        return try select(index.manifests, in: contents, platform: platform, depth: depth + 1)
    }

    private static func platformOfConfig(
        _ descriptor: Descriptor,
        in contents: any ArchiveContents
    ) throws -> Platform? {
        guard MediaType.isManifest(descriptor.mediaType) else { return nil }
        let label = "\(contents.label): \(descriptor.digest)"
        let bytes = try contents.document(descriptor, limit: ImageLimits.manifestBytes)
        let manifest = try Manifest(parsing: bytes, as: descriptor.mediaType, label: label)
        let config = try contents.document(manifest.config, limit: ImageLimits.configBytes)
        return try ImageConfig(parsing: config, label: label).platform
    }
}
