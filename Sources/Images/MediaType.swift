// SPDX-License-Identifier: Apache-2.0

package import LayerDiff

/// The media types of images, of OCI and of Docker's schema 2.
package enum MediaType {
    package static let ociIndex = "application/vnd.oci.image.index.v1+json"
    package static let ociManifest = "application/vnd.oci.image.manifest.v1+json"
    package static let ociConfig = "application/vnd.oci.image.config.v1+json"
    package static let dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
    package static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    package static let dockerConfig = "application/vnd.docker.container.image.v1+json"

    static let ociLayer = "application/vnd.oci.image.layer.v1.tar"
    static let ociForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    static let dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
    static let dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar"

    package static func isIndex(_ type: String) -> Bool { type == ociIndex || type == dockerIndex }
    package static func isManifest(_ type: String) -> Bool { type == ociManifest || type == dockerManifest }
    package static func isConfig(_ type: String) -> Bool { type == ociConfig || type == dockerConfig }

    /// How a layer of this type is compressed; `nil` if it is no layer that we can unpack (encrypted ones,
    /// say).
    package static func layerCompression(_ type: String) -> Compression? {
        for base in [ociLayer, ociForeignLayer] where type.hasPrefix(base) {
            switch type.dropFirst(base.count) {
            case "": return Compression.none
            case "+gzip": return .gzip
            case "+zstd": return .zstd
            default: return nil
            }
        }
        for base in [dockerLayer, dockerForeignLayer] where type.hasPrefix(base) {
            switch type.dropFirst(base.count) {
            case "": return Compression.none
            case ".gzip": return .gzip
            case ".zstd": return .zstd
            default: return nil
            }
        }
        return nil
    }

    /// The OCI type of a layer compressed so; `nil` where OCI has none (xz, bzip2).
    package static func layer(_ compression: Compression) -> String? {
        switch compression {
        case .none: ociLayer
        case .gzip: ociLayer + "+gzip"
        case .zstd: ociLayer + "+zstd"
        case .xz, .bzip2: nil
        }
    }
}
