// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// An image with the shape of a real one: a base system, many tiny files, a few large ones, and small layers above that
/// add, replace and delete.
///
/// The same bytes at every call with the same numbers, so that results of two days can be compared.
struct GeneratedImage {
    var layers: Int
    var baseFiles: Int
    var tinyFiles: Int
    var largeFiles: Int
    var largeBytes: Int
    /// Asked for each file; `true` ends the writing with `.interrupted`.
    var isCancelled: @Sendable () -> Bool = { false }

    static let whole = GeneratedImage(
        layers: 40,
        baseFiles: 1500,
        tinyFiles: 2500,
        largeFiles: 2,
        largeBytes: 12 << 20
    )
    static let small = GeneratedImage(
        layers: 12,
        baseFiles: 500,
        tinyFiles: 800,
        largeFiles: 1,
        largeBytes: 8 << 20
    )

    /// One large layer of tiny files, and small ones above it: to see what grows with either number.
    static func plain(layers: Int, files: Int) -> GeneratedImage {
        GeneratedImage(layers: layers, baseFiles: 0, tinyFiles: files, largeFiles: 0, largeBytes: 0)
    }

    private var isPlain: Bool { baseFiles == 0 }

    /// The first tiny files, where all are there in the end: what is done to them is the same at any size of the image.
    var files: ImageFiles? {
        guard isPlain else { return nil }
        return ImageFiles(
            small: (0..<min(tinyFiles, ImageFiles.kept)).map {
                TreePath(cleaning: GeneratedLayer.path("app", $0))
            }
        )
    }

    var summary: String {
        "generated: \(layers) layers, \(baseFiles + tinyFiles) files, \(largeFiles) of \(largeBytes >> 20) MiB"
    }

    /// Writes it as an OCI image layout to the directory `path`, which does not exist.
    func write(to path: FilePath) throws {
        try Files.makeDirectories(path.appending("blobs").appending("sha256"))
        var diffIDs: [Digest] = []
        var descriptors: [JSON] = []
        for index in 0..<layers {
            let layer = try writeLayer(index, path)
            diffIDs.append(layer.diffID)
            descriptors.append(Self.descriptor(MediaType.layer(.gzip) ?? "", layer.blob, layer.size))
        }
        let config: JSON = [
            "architecture": .string(Platform.host.architecture), "os": "linux",
            "config": ["Cmd": ["/bin/true"]],
            "rootfs": ["type": "layers", "diff_ids": .strings(diffIDs.map(\.description))],
        ]
        let configBlob = try writeBlob(config, path)
        let manifest: JSON = [
            "schemaVersion": 2, "mediaType": .string(MediaType.ociManifest),
            "config": Self.descriptor(MediaType.ociConfig, configBlob.digest, configBlob.size),
            "layers": .array(descriptors),
        ]
        let manifestBlob = try writeBlob(manifest, path)
        var entry =
            Self.descriptor(MediaType.ociManifest, manifestBlob.digest, manifestBlob.size).object ?? [:]
        entry["annotations"] = ["org.opencontainers.image.ref.name": "strata-bench:latest"]
        let index: JSON = ["schemaVersion": 2, "manifests": [.object(entry)]]
        try Files.replace(path.appending("index.json"), with: index.bytes(), durable: false)
        let layout: JSON = ["imageLayoutVersion": "1.0.0"]
        try Files.replace(path.appending("oci-layout"), with: layout.bytes(), durable: false)
    }

    private static func descriptor(_ type: String, _ digest: Digest, _ size: Int64) -> JSON {
        ["mediaType": .string(type), "digest": .string(digest.description), "size": .integer(size)]
    }

    private func writeBlob(_ value: JSON, _ path: FilePath) throws -> (digest: Digest, size: Int64) {
        let bytes = value.bytes()
        let digest = Digest.sha256(of: bytes)
        try Files.replace(blob(digest, path), with: bytes, durable: false)
        return (digest, Int64(bytes.count))
    }

    private func blob(_ digest: Digest, _ path: FilePath) -> FilePath {
        path.appending("blobs").appending("sha256").appending(digest.hex)
    }

    private func writeLayer(
        _ index: Int,
        _ path: FilePath
    ) throws -> (diffID: Digest, blob: Digest, size: Int64) {
        let temporary = path.appending("layer")
        let file = SharedFD(try Files.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600))
        let output = DescriptorSink(file)
        let packed = HashingSink(next: output)
        let gzip = try GzipSink(packed)
        let plain = HashingSink(next: gzip)
        let writer = TarWriter(plain)
        var content = GeneratedLayer(
            writer: writer,
            random: Random(seed: UInt64(index) + 1),
            isCancelled: isCancelled
        )
        try fill(&content, index)
        try writer.finish()
        try gzip.finish()
        try output.flush()
        guard let diffID = plain.finish(), let digest = packed.finish() else {
            throw StorageError(.system, "write the image to measure with: its digest was taken twice")
        }
        try Files.rename(temporary, to: blob(digest, path))
        return (diffID, digest, packed.count)
    }

    private func fill(_ layer: inout GeneratedLayer, _ index: Int) throws {
        if index == 0 {
            try layer.directory("bin")
            try layer.file("bin/true", TrueProgram.file, mode: 0o755)
        }
        switch (index, isPlain) {
        case (0, false):
            try layer.directories("usr", files: baseFiles)
            for file in 0..<baseFiles {
                try layer.file("usr", file, size: layer.random.size(from: 200, to: 120_000))
            }
        case (0, true), (1, false):
            try layer.directories("app", files: tinyFiles)
            for file in 0..<tinyFiles {
                try layer.file("app", file, size: layer.random.size(from: 16, to: 2000))
            }
        case (2, false):
            try layer.directory("data")
            for file in 0..<largeFiles {
                try layer.file("data/large-\(file)", layer.random.bytes(largeBytes))
            }
        default:
            try layer.directory("etc")
            for file in 0..<3 { try layer.file("etc/conf-\(index)-\(file)", layer.random.bytes(500)) }
            if isPlain { return }
            // One file of the base each is replaced, another deleted.
            try layer.file("usr", (index * 7) % baseFiles, size: 3000)
            try layer.whiteout("app", (index * 11) % tinyFiles)
        }
    }
}

/// A layer as it is written.
struct GeneratedLayer {
    let writer: TarWriter
    var random: Random
    let isCancelled: @Sendable () -> Bool

    private static let filesPerDirectory = 40
    private static let time = Timestamp(seconds: 1_700_000_000)

    /// Where the file of this number lies: directories of 40, ten of them in each above.
    static func path(_ root: String, _ file: Int) -> String {
        let directory = file / filesPerDirectory
        return "\(root)/d\(directory / 10)/e\(directory % 10)/file-\(file)"
    }

    mutating func directory(_ path: String) throws {
        try writer.append(
            LayerEntry(path: TreePath(cleaning: path), kind: .directory, mode: 0o755, mtime: Self.time)
        )
    }

    mutating func directories(_ root: String, files: Int) throws {
        try directory(root)
        let count = (files + Self.filesPerDirectory - 1) / Self.filesPerDirectory
        for index in 0..<count {
            if index % 10 == 0 { try directory("\(root)/d\(index / 10)") }
            try directory("\(root)/d\(index / 10)/e\(index % 10)")
        }
    }

    mutating func file(_ root: String, _ number: Int, size: Int) throws {
        try file(Self.path(root, number), random.bytes(size))
    }

    mutating func file(_ path: String, _ content: [UInt8], mode: UInt32 = 0o644) throws {
        if isCancelled() { throw StorageError(.interrupted, "write the image to measure with") }
        let entry = LayerEntry(
            path: TreePath(cleaning: path),
            kind: .regular(size: Int64(content.count)),
            mode: mode,
            mtime: Self.time
        )
        try writer.append(entry) { emit in try content.withUnsafeBytes { try emit($0) } }
    }

    mutating func whiteout(_ root: String, _ number: Int) throws {
        try writer.append(LayerEntry(path: TreePath(cleaning: Self.path(root, number)), kind: .whiteout))
    }
}

/// SplitMix64: small, quick, and the same everywhere.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// Small sizes far oftener than large ones, as in real images.
    mutating func size(from low: Int, to high: Int) -> Int {
        let part = Double(next() >> 11) / Double(1 << 53)
        return Int(Double(low) * pow(Double(high) / Double(low), part))
    }

    /// Bytes that compress about as well as programs do, to two fifths: runs of text between noise.
    mutating func bytes(_ count: Int) -> [UInt8] {
        let words = Array("the layer of a container holds what changed since the one below it; ".utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 64)
        while bytes.count < count {
            let noise = next()
            withUnsafeBytes(of: noise) { bytes.append(contentsOf: $0.prefix(Int(noise & 7) + 1)) }
            let start = Int(noise >> 8 & 31)
            bytes.append(contentsOf: words[start..<(start + Int(noise >> 16 & 15) + 2)])
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
