// SPDX-License-Identifier: Apache-2.0

package import JSON
package import LayerDiff
import LinuxSys
import Storage

/// Limits on documents that come from outside.
///
/// A layer is limited by `LayerDiff`.
enum ImageLimits {
    static let manifestBytes = 4 << 20
    static let configBytes = 4 << 20
    static let depth = 64
    /// More than any driver can mount at once.
    static let layers = 500
    static let manifestsOfIndex = 1000
    /// Bytes of all configs of an archive, which are held while it is loaded.
    static let configsOfArchive = 32 << 20
    /// How deep indexes may lie in each other.
    static let indexDepth = 4
}

/// What points to a blob: its type, digest and size (OCI "descriptor").
package struct Descriptor: Hashable, Sendable {
    package var mediaType: String
    package var digest: Digest
    package var size: Int64
    package var annotations: [String: String] = [:]
    package var platform: Platform?

    package init(mediaType: String, digest: Digest, size: Int64) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
    }

    /// - Parameter label: what holds the descriptor, for messages.
    init(_ json: JSON?, of label: String) throws(StorageError) {
        guard let json, json.object != nil else {
            throw StorageError(.invalid, "\(label): a descriptor is missing")
        }
        guard let text = json["digest"]?.string, let digest = Digest(text) else {
            let given = json["digest"]?.string.map { " \(shown($0))" } ?? ""
            throw StorageError(.invalid, "\(label): bad or unsupported digest\(given) in a descriptor")
        }
        guard let size = json["size"]?.int64, size >= 0 else {
            throw StorageError(.invalid, "\(label): descriptor of \(digest) has no valid size")
        }
        mediaType = json["mediaType"]?.string ?? ""
        self.digest = digest
        self.size = size
        // Never followed: a manifest must not make us fetch from, or show credentials to, a host it names.
        if let urls = json["urls"]?.array, !urls.isEmpty {
            throw StorageError(
                .unsupported,
                "\(label): \(digest) is to be fetched from URLs that the manifest names (a foreign layer)",
                remedy: "use an image that carries all its layers"
            )
        }
        for member in json["annotations"]?.object ?? JSONObject() {
            if let text = member.value.string { annotations[member.key] = text }
        }
        if let os = json["platform"]?["os"]?.string,
            let architecture = json["platform"]?["architecture"]?.string
        {
            platform = Platform(
                os: os,
                architecture: architecture,
                variant: json["platform"]?["variant"]?.string
            )
        }
    }

    package var json: JSON {
        var object: JSONObject = [
            "mediaType": .string(mediaType), "digest": .string("\(digest)"), "size": .integer(size),
        ]
        if !annotations.isEmpty {
            var pairs = JSONObject()
            for (key, value) in annotations.sorted(by: { $0.key < $1.key }) { pairs[key] = .string(value) }
            object["annotations"] = .object(pairs)
        }
        if let platform {
            var pairs: JSONObject = [
                "architecture": .string(platform.architecture), "os": .string(platform.os),
            ]
            if let variant = platform.variant { pairs["variant"] = .string(variant) }
            object["platform"] = .object(pairs)
        }
        return .object(object)
    }
}

/// An image manifest, of OCI or of Docker's schema 2, with the bytes that its digest is of.
package struct Manifest: Sendable {
    package let bytes: [UInt8]
    package let digest: Digest
    package let mediaType: String
    package let config: Descriptor
    package let layers: [Descriptor]

    package var descriptor: Descriptor {
        Descriptor(mediaType: mediaType, digest: digest, size: Int64(bytes.count))
    }

    /// Parses and checks `bytes`; what it says of itself must agree with `expected`, the type it was found
    /// under.
    init(parsing bytes: [UInt8], as expected: String, label: String) throws {
        let json = try document(bytes, limit: ImageLimits.manifestBytes, label: label)
        let type = try checkedType(of: json, found: expected, label: label)
        guard MediaType.isManifest(type) else {
            throw StorageError(.unsupported, "\(label): unsupported media type \(shown(type))")
        }
        guard json["manifests"] == nil, json["fsLayers"] == nil else {
            throw StorageError(.invalid, "\(label): called a manifest but has the members of another type")
        }
        guard let entries = json["layers"]?.array, entries.count <= ImageLimits.layers else {
            throw StorageError(.invalid, "\(label): no layers, or more than \(ImageLimits.layers)")
        }
        self.bytes = bytes
        digest = .sha256(of: bytes)
        mediaType = type
        config = try Descriptor(json["config"], of: label)
        guard MediaType.isConfig(config.mediaType) else {
            throw StorageError(
                .unsupported,
                "\(label): not a container image (its config is \(config.mediaType.isEmpty ? "untyped" : shown(config.mediaType)))"
            )
        }
        var layers: [Descriptor] = []
        for entry in entries {
            let layer = try Descriptor(entry, of: label)
            guard MediaType.layerCompression(layer.mediaType) != nil else {
                throw StorageError(
                    .unsupported,
                    "\(label): layer \(layer.digest) has the unsupported media type \(shown(layer.mediaType))"
                )
            }
            layers.append(layer)
        }
        self.layers = layers
    }

    /// A new OCI manifest over blobs that exist.
    init(config: Descriptor, layers: [Descriptor]) {
        let json: JSON = [
            "schemaVersion": 2, "mediaType": .string(MediaType.ociManifest), "config": config.json,
            "layers": .array(layers.map(\.json)),
        ]
        bytes = json.bytes()
        digest = .sha256(of: bytes)
        mediaType = MediaType.ociManifest
        self.config = config
        self.layers = layers
    }
}

/// An image index (OCI) or manifest list (Docker).
struct Index: Sendable {
    let manifests: [Descriptor]

    init(parsing bytes: [UInt8], as expected: String?, label: String) throws {
        let json = try document(bytes, limit: ImageLimits.manifestBytes, label: label)
        let type = try checkedType(of: json, found: expected ?? MediaType.ociIndex, label: label)
        guard MediaType.isIndex(type) else {
            throw StorageError(.unsupported, "\(label): unsupported media type \(shown(type))")
        }
        guard json["layers"] == nil, json["config"] == nil, json["fsLayers"] == nil else {
            throw StorageError(.invalid, "\(label): called an index but has the members of a manifest")
        }
        guard let entries = json["manifests"]?.array, entries.count <= ImageLimits.manifestsOfIndex else {
            throw StorageError(
                .invalid,
                "\(label): no manifests, or more than \(ImageLimits.manifestsOfIndex)"
            )
        }
        var manifests: [Descriptor] = []
        for entry in entries { manifests.append(try Descriptor(entry, of: label)) }
        self.manifests = manifests
    }

    init(_ manifests: [Descriptor]) { self.manifests = manifests }

    var bytes: [UInt8] {
        let json: JSON = [
            "schemaVersion": 2, "mediaType": .string(MediaType.ociIndex),
            "manifests": .array(manifests.map(\.json)),
        ]
        return json.bytes()
    }
}

/// Text that came from outside, for messages: short, and without control characters.
func shown(_ text: String) -> String { TreePath(bytes: Array(text.utf8.prefix(200))).printable }

/// The JSON object in `bytes`, within limits.
func document(_ bytes: [UInt8], limit: Int, label: String) throws(StorageError) -> JSON {
    do throws(JSONError) {
        let json = try JSON.parse(bytes, limits: JSONLimits(size: limit, depth: ImageLimits.depth))
        if json.object != nil { return json }
    } catch {
        throw StorageError(.invalid, "\(label): \(error)")
    }
    throw StorageError(.invalid, "\(label): not a JSON object")
}

/// The type of a manifest or index: its own word and that of whoever pointed to it must agree
/// (CVE-2021-41190).
private func checkedType(of json: JSON, found: String, label: String) throws(StorageError) -> String {
    guard json["schemaVersion"]?.int == 2 else {
        throw StorageError(
            .unsupported,
            "\(label): unsupported schema version",
            remedy: "convert it with skopeo copy"
        )
    }
    guard let own = json["mediaType"] else { return found }
    guard let text = own.string, text == found else {
        let said = own.string.map { shown($0) } ?? own.typeName
        throw StorageError(.invalid, "\(label): found as \(shown(found)) but calls itself \(said)")
    }
    return text
}
