// SPDX-License-Identifier: Apache-2.0

package import JSON
package import LayerDiff
package import LinuxSys
import Storage

/// The configuration of an image (OCI image-spec "config"), kept whole: members that we do not know survive.
///
/// What has an accessor here was checked when it was parsed.
package struct ImageConfig: Sendable {
    package private(set) var json: JSONObject
    package private(set) var diffIDs: [Digest]
    package private(set) var history: [HistoryEntry]

    /// Parses and checks a config that came from outside.
    package init(parsing bytes: [UInt8], label: String) throws {
        try self.init(
            try document(bytes, limit: ImageLimits.configBytes, label: label).object ?? JSONObject(),
            label: label
        )
    }

    init(_ json: JSONObject, label: String) throws {
        guard let os = json["os"]?.string ?? (json["os"] == nil ? "linux" : nil), !os.isEmpty else {
            throw StorageError(.invalid, "\(label): no operating system")
        }
        guard json["architecture"]?.string != nil || json["architecture"] == nil else {
            throw StorageError(.invalid, "\(label): architecture is not a string")
        }
        guard let rootfs = json["rootfs"], rootfs["type"]?.string == "layers",
            let entries = rootfs["diff_ids"]
        else {
            throw StorageError(.invalid, "\(label): not an image config (no rootfs of type layers)")
        }
        var diffIDs: [Digest] = []
        for entry in entries.array ?? [] {
            guard let text = entry.string, let digest = Digest(text) else {
                throw StorageError(.invalid, "\(label): bad or unsupported DiffID in rootfs.diff_ids")
            }
            diffIDs.append(digest)
        }
        guard diffIDs.count <= ImageLimits.layers else {
            throw StorageError(
                .invalid,
                "\(label): \(diffIDs.count) layers; at most \(ImageLimits.layers) can be used"
            )
        }
        var history: [HistoryEntry] = []
        for entry in json["history"]?.array ?? [] { history.append(try HistoryEntry(entry, label: label)) }
        try Self.check(json, label: label)
        self.json = json
        self.diffIDs = diffIDs
        self.history = history
    }

    /// A new, empty config.
    package init(platform: Platform) {
        var json: JSONObject = ["architecture": .string(platform.architecture)]
        if let variant = platform.variant { json["variant"] = .string(variant) }
        json["os"] = .string(platform.os)
        json["config"] = [:]
        json["rootfs"] = ["type": "layers", "diff_ids": []]
        json["history"] = []
        self.json = json
        diffIDs = []
        history = []
    }

    package var bytes: [UInt8] { JSON.object(json).bytes() }

    package var platform: Platform {
        let variant = json["variant"]?.string
        return Platform(
            os: json["os"]?.string ?? "linux",
            architecture: json["architecture"]?.string ?? "",
            variant: variant.flatMap { $0.isEmpty ? nil : $0 }
        )
    }

    package var created: Timestamp? { json["created"]?.string.flatMap { Timestamp(rfc3339: $0) } }
    package var author: String { json["author"]?.string ?? "" }
    package var comment: String { json["comment"]?.string ?? history.last?.comment ?? "" }

    /// The ChainIDs of all layers, base first.
    package var chainIDs: [Digest] {
        var chain: [Digest] = []
        for diffID in diffIDs { chain.append(.chainID(parent: chain.last, diffID: diffID)) }
        return chain
    }

    /// A line of `history`.
    package struct HistoryEntry: Sendable {
        package var created: Timestamp?
        package var createdBy: String
        package var author: String
        package var comment: String
        package var isEmptyLayer: Bool

        package init(
            created: Timestamp?,
            createdBy: String,
            author: String = "",
            comment: String = "",
            isEmptyLayer: Bool = false
        ) {
            self.created = created
            self.createdBy = createdBy
            self.author = author
            self.comment = comment
            self.isEmptyLayer = isEmptyLayer
        }

        init(_ json: JSON, label: String) throws(StorageError) {
            guard json.object != nil else {
                throw StorageError(.invalid, "\(label): history is not a list of objects")
            }
            created = json["created"]?.string.flatMap { Timestamp(rfc3339: $0) }
            createdBy = json["created_by"]?.string ?? ""
            author = json["author"]?.string ?? ""
            comment = json["comment"]?.string ?? ""
            isEmptyLayer = json["empty_layer"]?.bool ?? false
        }

        var json: JSON {
            var object = JSONObject()
            if let created { object["created"] = .string(created.rfc3339) }
            if !createdBy.isEmpty { object["created_by"] = .string(createdBy) }
            if !author.isEmpty { object["author"] = .string(author) }
            if !comment.isEmpty { object["comment"] = .string(comment) }
            if isEmptyLayer { object["empty_layer"] = true }
            return .object(object)
        }
    }

    // MARK: - Changes

    /// Puts a layer on top, or only a line of history when `diffID` is nil.
    package mutating func append(_ diffID: Digest?, _ entry: HistoryEntry) {
        var entry = entry
        entry.isEmptyLayer = diffID == nil
        history.append(entry)
        var lines = json["history"]?.array ?? []
        lines.append(entry.json)
        json["history"] = .array(lines)
        guard let diffID else { return }
        diffIDs.append(diffID)
        json["rootfs"] = ["type": "layers", "diff_ids": .strings(diffIDs.map(\.description))]
    }

    package mutating func set(created: Timestamp, author: String?, comment: String?) {
        json["created"] = .string(created.rfc3339)
        if let author { json["author"] = author.isEmpty ? nil : .string(author) }
        json["comment"] = comment.flatMap { $0.isEmpty ? nil : .string($0) }
    }

    /// The members of `config`, which say how a container of this image runs; in Docker's names.
    package var process: JSONObject {
        get { json["config"]?.object ?? JSONObject() }
        set { json["config"] = .object(newValue) }
    }
}
