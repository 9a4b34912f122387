// SPDX-License-Identifier: Apache-2.0

package import JSON
package import LayerDiff
package import LinuxSys
import Storage
import StoreRoot

/// A line of `images`: an image under one of its names, or under none.
package struct ImageSummary: Sendable {
    package let image: Image
    package let reference: Reference?

    package init(image: Image, reference: Reference?) {
        self.image = image
        self.reference = reference
    }

    /// Neither a name, nor an image made from it: `<none>:<none>`.
    package var isNameless: Bool { reference == nil }
}

/// A line of `history`.
package struct ImageHistoryLine: Sendable {
    /// `nil`: `<missing>`, as only the top is an image of its own.
    package let id: Digest?
    package let created: Timestamp?
    package let createdBy: String
    package let comment: String
    /// Bytes of the layer; 0 for a line without one.
    package let size: Int64
    /// The names of the image of this line.
    package let references: [Reference]
}

extension ImageStore {
    /// The lines of `images`, the newest first.
    ///
    /// Images that are only parents of others are left out unless `all`.
    package func list(all: Bool = false) throws -> [ImageSummary] {
        let (images, names) = try database.snapshot { _ in
            let images: [Image] = try self.images()
            return (images, try self.references())
        }
        let byImage = Dictionary(grouping: names, by: \.image)
        let parents = Set(images.compactMap(\.parent))
        var lines: [ImageSummary] = []
        for image in images {
            let references = (byImage[image.id] ?? []).map(\.reference)
            if references.isEmpty, !all, parents.contains(image.id) { continue }
            if references.isEmpty { lines.append(ImageSummary(image: image, reference: nil)) }
            for reference in references { lines.append(ImageSummary(image: image, reference: reference)) }
        }
        return lines
    }

    /// What `inspect` says of an image, in Docker's names.
    ///
    /// - Parameter graphDriver: `{"Name": …, "Data": {…}}` for the driver at hand, if the image is unpacked there.
    package func inspect(_ image: Image, graphDriver: JSON? = nil) throws -> JSON {
        let config = try image.config()
        let names = try references(of: image.id)
        var digests = names.filter { $0.digest != nil }
        // The digest by which a registry would know it.
        if let manifest = image.manifestDigest {
            for name in names where name.digest == nil {
                let reference = name.with(digest: manifest)
                if !digests.contains(reference) { digests.append(reference) }
            }
        }
        var answer: JSONObject = ["Id": .string("\(image.id)")]
        answer["RepoTags"] = .strings(names.filter { $0.tag != nil }.map(\.familiar))
        answer["RepoDigests"] = .strings(digests.map(\.familiar))
        answer["Parent"] = .string(image.parent?.description ?? "")
        answer["Comment"] = .string(config.comment)
        answer["Created"] = .string(config.json["created"]?.string ?? "")
        answer["DockerVersion"] = .string(config.json["docker_version"]?.string ?? "")
        answer["Author"] = .string(config.author)
        answer["Config"] = Self.dockerConfig(config)
        answer["Architecture"] = .string(config.platform.architecture)
        if let variant = config.platform.variant { answer["Variant"] = .string(variant) }
        answer["Os"] = .string(config.platform.os)
        answer["Size"] = .integer(image.size)
        answer["GraphDriver"] = graphDriver ?? ["Data": nil, "Name": ""]
        answer["RootFS"] = ["Type": "layers", "Layers": .strings(config.diffIDs.map(\.description))]
        answer["Metadata"] = [
            "LastTagTime": .string(try lastTagged(image.id)?.rfc3339 ?? "0001-01-01T00:00:00Z")
        ]
        if let manifest = image.manifestDigest, let record = try blobs.record(of: manifest) {
            let descriptor = Descriptor(mediaType: record.mediaType, digest: manifest, size: record.size)
            answer["Descriptor"] = descriptor.json
        }
        return .object(answer)
    }

    /// `config` with the members that Docker's clients expect, those of the image kept.
    private static func dockerConfig(_ config: ImageConfig) -> JSON {
        let process = config.process
        var answer: JSONObject = [
            "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
            "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": nil,
            "Cmd": nil,
            "Image": "", "Volumes": nil, "WorkingDir": "", "Entrypoint": nil, "OnBuild": nil, "Labels": nil,
        ]
        for member in process { answer[member.key] = member.value }
        return .object(answer)
    }

    private func lastTagged(_ id: Digest) throws -> Timestamp? {
        try database.first(
            "SELECT max(created) FROM image_references WHERE image = ?",
            [.text("\(id)")]
        ) { $0.optionalInteger(0) }.flatMap(\.self).map { Timestamp(wholeNanoseconds: $0) }
    }

    /// The lines of `history`, the top first.
    package func history(_ image: Image) throws -> [ImageHistoryLine] {
        let config = try image.config()
        let layers = try layers(of: image.id)
        var lines: [ImageHistoryLine] = []
        var position = 0
        for (index, entry) in config.history.enumerated() {
            var size: Int64 = 0
            if !entry.isEmptyLayer, position < layers.count {
                size = layers[position].size ?? 0
                position += 1
            }
            let isTop = index == config.history.count - 1
            lines.append(
                ImageHistoryLine(
                    id: isTop ? image.id : nil,
                    created: entry.created,
                    createdBy: entry.createdBy,
                    comment: entry.comment,
                    size: size,
                    references: isTop ? try references(of: image.id) : []
                )
            )
        }
        // An image need not say how its layers came to be.
        for layer in layers.dropFirst(position) {
            let isTop = layer.chainID == layers.last?.chainID
            lines.append(
                ImageHistoryLine(
                    id: isTop ? image.id : nil,
                    created: nil,
                    createdBy: "",
                    comment: "",
                    size: layer.size ?? 0,
                    references: []
                )
            )
        }
        return lines.reversed()
    }
}
