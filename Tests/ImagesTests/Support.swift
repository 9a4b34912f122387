// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import SystemPackage
import TestGates
import Testing

/// A store in a directory of its own.
final class Fixture: Sendable {
    let directory: TemporaryDirectory
    let root: StoreRoot
    let store: ImageStore

    init(durable: Bool = false) throws {
        directory = try TemporaryDirectory()
        root = try StoreRoot.open(
            directory.appending("root"),
            run: directory.appending("run"),
            access: .write
        )
        store = ImageStore(root, durable: durable)
    }

    func write(_ bytes: [UInt8], to name: String) throws -> FilePath {
        let path = directory.appending(name)
        try Files.replace(path, with: bytes, durable: false)
        return path
    }

    func archive(
        _ bytes: [UInt8],
        name: String = "archive.tar",
        platform: Platform = .host
    ) throws -> ImageArchive {
        try ImageArchive.open(try write(bytes, to: name), for: store, platform: platform)
    }

    /// Loads every image of an archive, with its layers unpacked nowhere (`reading`) or not read by anyone.
    @discardableResult
    func load(_ archive: ImageArchive, reading: Bool = true) throws -> [LoadedImage] {
        try archive.images.map { image in
            let load = try store.load(image)
            if reading { for layer in load.layers { try Self.read(layer) } }
            return try load.finish()
        }
    }

    @discardableResult
    func load(_ bytes: [UInt8], reading: Bool = true) throws -> [LoadedImage] {
        try load(archive(bytes), reading: reading)
    }

    /// Does what an unpacker does; the names of the entries.
    @discardableResult
    static func read(_ layer: LayerSource) throws -> [String] {
        let stream = try layer.open()
        var names: [String] = []
        while let entry = try stream.next() { names.append(entry.path.printable) }
        try layer.completed(try stream.finish())
        return names
    }

    /// The blobs that are there, by name.
    func blobFiles() throws -> Set<String> {
        let path = root.ociPath.appending("blobs/sha256")
        guard try Files.status(path) != nil else { return [] }
        let opened = try Files.openDirectory(path)
        return Set(try Files.list(opened.raw).map(\.name.printable))
    }

    func rows(_ table: String) throws -> Int64 {
        try root.database.first("SELECT count(*) FROM \(table)") { $0.integer(0) } ?? -1
    }

    func index() throws -> JSON { try JSON.parse(Files.contents(root.ociPath.appending("index.json"))) }

    /// The names that index.json gives other tools.
    func indexNames() throws -> [String] {
        try (index()["manifests"]?.array ?? []).compactMap {
            $0["annotations"]?["org.opencontainers.image.ref.name"]?.string
        }
    }

    func remove(_ name: String, force: Bool = false, users: [ImageUser] = []) throws -> [String] {
        try store.remove(name, force: force, users: users).lines.map(\.description)
    }
}

/// Collects what is written.
final class ByteCollector: ByteSink {
    private(set) var bytes: [UInt8] = []

    func write(_ piece: UnsafeRawBufferPointer) { bytes += piece }
}

enum Tar {
    enum Member {
        case file([UInt8])
        case symlink(String)
        case hardLink(String)
        case directory
    }

    static func make(_ members: [(String, Member)]) throws -> [UInt8] {
        let output = ByteCollector()
        let writer = TarWriter(output)
        for (name, member) in members {
            let path = TreePath(cleaning: name)
            switch member {
            case .file(let bytes):
                let entry = LayerEntry(path: path, kind: .regular(size: Int64(bytes.count)), mode: 0o644)
                try writer.append(entry) { emit in try bytes.withUnsafeBytes(emit) }
            case .symlink(let target):
                try writer.append(
                    LayerEntry(path: path, kind: .symlink(target: Array(target.utf8)), mode: 0o777)
                )
            case .hardLink(let target):
                try writer.append(LayerEntry(path: path, kind: .hardLink(target: TreePath(cleaning: target))))
            case .directory: try writer.append(LayerEntry(path: path, kind: .directory, mode: 0o755))
            }
        }
        try writer.finish()
        return output.bytes
    }

    static func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
        let output = ByteCollector()
        let sink = try GzipSink(output)
        try bytes.withUnsafeBytes { try sink.write($0) }
        try sink.finish()
        return output.bytes
    }

    /// The content of the regular files of a tar.
    static func files(_ bytes: [UInt8], in fixture: Fixture) throws -> [String: [UInt8]] {
        let path = try fixture.write(bytes, to: "indexed.tar")
        let file = SharedFD(try Files.open(path, O_RDONLY))
        var files: [String: [UInt8]] = [:]
        for member in try TarIndex(file, label: "test").members where member.kind == .regular {
            files[member.path.printable] = Array(bytes[Int(member.offset)..<Int(member.offset + member.size)])
        }
        return files
    }
}

/// A layer made for a test.
struct TestLayer {
    let tar: [UInt8]
    var blob: [UInt8]
    var mediaType = "application/vnd.oci.image.layer.v1.tar"

    var diffID: Digest { .sha256(of: tar) }
    var digest: Digest { .sha256(of: blob) }

    static func plain(_ files: [String: String]) throws -> TestLayer {
        let tar = try Tar.make(files.sorted { $0.key < $1.key }.map { ($0.key, .file(Array($0.value.utf8))) })
        return TestLayer(tar: tar, blob: tar)
    }

    static func gzip(_ files: [String: String]) throws -> TestLayer {
        var layer = try plain(files)
        layer.blob = try Tar.gzip(layer.tar)
        layer.mediaType += "+gzip"
        return layer
    }

    var descriptor: JSON {
        ["mediaType": .string(mediaType), "digest": .string("\(digest)"), "size": .integer(blob.count)]
    }
}

/// The documents of one image made for a test; any of them may be bent before it is packed.
struct TestImage {
    var layers: [TestLayer]
    var config: JSON
    var manifest: JSON
    var name: String

    init(_ layers: [TestLayer], name: String = "test:1", architecture: String = Platform.host.architecture) {
        self.layers = layers
        self.name = name
        config = [
            "created": "2026-11-21T15:10:24.5Z", "architecture": .string(architecture), "os": "linux",
            "config": ["Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]],
            "rootfs": ["type": "layers", "diff_ids": .strings(layers.map(\.diffID.description))],
            "history": .array(layers.map { _ in ["created_by": "test"] }),
        ]
        manifest = [:]
        remake()
    }

    var id: Digest { .sha256(of: config.bytes()) }
    var manifestDigest: Digest { .sha256(of: manifest.bytes()) }

    /// The manifest again, after the config or a layer was changed.
    mutating func remake() {
        manifest = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": [
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": .string("\(id)"),
                "size": .integer(config.bytes().count),
            ],
            "layers": .array(layers.map(\.descriptor)),
        ]
    }

    var descriptor: JSON {
        [
            "mediaType": manifest["mediaType"] ?? "application/vnd.oci.image.manifest.v1+json",
            "digest": .string("\(manifestDigest)"), "size": .integer(manifest.bytes().count),
            "annotations": ["org.opencontainers.image.ref.name": .string(name)],
        ]
    }

    var blobs: [(String, Tar.Member)] {
        [
            ("blobs/sha256/\(id.hex)", .file(config.bytes())),
            ("blobs/sha256/\(manifestDigest.hex)", .file(manifest.bytes())),
        ]
            + layers.map { ("blobs/sha256/\($0.digest.hex)", .file($0.blob)) }
    }

    /// An oci-archive of images, or with descriptors of the caller's.
    static func oci(
        _ images: [TestImage],
        descriptors: [JSON]? = nil,
        more: [(String, Tar.Member)] = []
    ) throws -> [UInt8] {
        let index: JSON = [
            "schemaVersion": 2, "manifests": .array(descriptors ?? images.map(\.descriptor)),
        ]
        return try Tar.make(
            [
                ("oci-layout", .file(Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))),
                ("index.json", .file(index.bytes())),
            ]
                + images.flatMap(\.blobs) + more
        )
    }

    /// A docker-archive as Docker before 25 wrote it.
    static func docker(_ images: [TestImage]) throws -> [UInt8] {
        var members: [(String, Tar.Member)] = []
        var items: [JSON] = []
        for image in images {
            members.append(("\(image.id.hex).json", .file(image.config.bytes())))
            var paths: [String] = []
            for layer in image.layers {
                let path = "\(layer.digest.hex)/layer.tar"
                paths.append(path)
                members.append((path, .file(layer.blob)))
            }
            items.append([
                "Config": .string("\(image.id.hex).json"), "RepoTags": [.string(image.name)],
                "Layers": .strings(paths),
            ])
        }
        return try Tar.make(members + [("manifest.json", .file(JSON.array(items).bytes()))])
    }
}

@discardableResult
func run(_ arguments: String..., in directory: FilePath) throws -> String {
    try run(arguments, in: directory)
}

/// Runs a program to its end, which must be a good one; what it wrote to both outputs.
///
/// - Parameter directory: where the output is kept meanwhile.
func run(_ arguments: [String], in directory: FilePath) throws -> String {
    let log = directory.appending("output.\(UInt64.random(in: 0 ... .max))")
    let output = try Files.open(log, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.raw, 1)
    posix_spawn_file_actions_adddup2(&actions, output.raw, 2)
    var pointers = arguments.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var pid: pid_t = 0
    let failure = posix_spawnp(&pid, arguments[0], &actions, nil, &pointers, environ)
    try #require(failure == 0, "\(arguments[0]): errno \(failure)")
    var status: Int32 = 0
    while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
    let text = String(decoding: try Files.contents(log), as: UTF8.self)
    let code = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
    try #require(code == 0, "\(arguments.joined(separator: " ")): exit \(code)\n\(text)")
    return text
}
