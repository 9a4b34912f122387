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

/// Images of a tiny root file system that other tools wrote, and what they make of ours.
final class ToolBox: Sendable {
    let fixture: Fixture
    var path: FilePath { fixture.directory.path }

    /// The layout that umoci wrote: an image `base` of two layers.
    let layout: FilePath

    /// Podman takes 50 characters at most for it.
    private let runRoot = "/tmp/p.\(UInt32.random(in: 0 ... .max))"

    deinit { _ = try? Files.removeTree(FilePath(runRoot)) }

    init() throws {
        fixture = try Fixture()
        layout = fixture.directory.appending("layout")
        let layers = try [
            TestLayer.gzip(["bin/busybox": "not really", "etc/motd": "hi"]), TestLayer.gzip(["etc/two": "2"]),
        ]
        let image = TestImage(layers, name: "base")
        for (name, content) in try Tar.files(TestImage.oci([image]), in: fixture) {
            try Files.makeDirectories(layout.appending(name).removingLastComponent())
            try Files.replace(layout.appending(name), with: content, durable: false)
        }
    }

    func skopeo(_ arguments: String...) throws -> String {
        try runAll(["skopeo", "--insecure-policy"] + arguments)
    }

    func podman(_ arguments: String...) throws -> String {
        let store = ["--root", path.string + "/podman", "--runroot", runRoot, "--storage-driver", "vfs"]
        return try runAll(["podman"] + store + ["--events-backend", "none"] + arguments)
    }

    private func runAll(_ arguments: [String]) throws -> String { try run(arguments, in: path) }

    func file(_ name: String) -> String { path.appending(name).string }

    /// Loads what a tool wrote, reads all of it, and says what came.
    func load(_ name: String) throws -> [String] {
        try fixture.load(ImageArchive.open(FilePath(file(name)), for: fixture.store)).flatMap(\.messages)
    }

    /// Writes an image of the store to a file.
    func save(_ name: String, as format: ArchiveFormat, to file: String) throws {
        let output = SharedFD(try Files.open(self.file(file), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644))
        let sink = DescriptorSink(output)
        try fixture.store.save(fixture.store.selectForSaving([name]), as: format, to: sink) { _, _, _ in
            Issue.record("every layer has a blob")
        }
        try sink.flush()
    }

    func diffIDs(_ name: String) throws -> [String] {
        try fixture.store.resolve(name).config().diffIDs.map(\.description)
    }
}

@Suite(.requires(.program("skopeo"))) struct SkopeoTests {
    @Test func loadsWhatSkopeoWrote() throws {
        let box = try ToolBox()
        let source = "oci:\(box.layout):base"
        _ = try box.skopeo("copy", source, "docker-archive:\(box.file("docker.tar")):docker.io/library/one:1")
        _ = try box.skopeo("copy", source, "oci-archive:\(box.file("oci.tar")):two:2")
        _ = try box.skopeo(
            "copy",
            "--dest-compress-format",
            "zstd",
            "--dest-compress",
            source,
            "oci:\(box.file("zstd")):three:3"
        )
        _ = try box.skopeo("copy", "--format", "v2s2", source, "dir:\(box.file("v2s2"))")
        #expect(try box.load("docker.tar") == ["Loaded image: one:1"])
        #expect(try box.load("oci.tar") == ["Loaded image: two:2"])
        #expect(try box.load("zstd") == ["Loaded image: three:3"])
        #expect(try box.diffIDs("one:1") == box.diffIDs("two:2"))
        #expect(try box.diffIDs("one:1") == box.diffIDs("three:3"))
        for layer in try box.fixture.store.sources(of: box.fixture.store.resolve("one:1").id) {
            try Fixture.read(layer)
        }
    }

    @Test(arguments: ArchiveFormat.allCases)
    func skopeoReadsWhatWeWrote(_ format: ArchiveFormat) throws {
        let box = try ToolBox()
        _ = try box.load("layout")
        try box.fixture.store.tag("base", as: "quay.io/x/saved:1")
        let name = "quay.io/x/saved:1"
        let source: String
        if format == .ociDirectory {
            let selected = try box.fixture.store.selectForSaving([name])
            try box.fixture.store.save(selected, to: FilePath(box.file("saved"))) { _, _, _ in }
            source = "oci:\(box.file("saved")):\(name)"
        } else {
            try box.save(name, as: format, to: "saved.tar")
            source = "\(format.rawValue):\(box.file("saved.tar")):\(name)"
        }
        let config = try JSON.parse(Array(try box.skopeo("inspect", "--config", "--raw", source).utf8))
        #expect(config["rootfs"]?["diff_ids"]?.strings == (try box.diffIDs(name)))
        // A copy reads, and verifies, every layer.
        _ = try box.skopeo("copy", source, "oci:\(box.file("again")):a")
        let copied = try JSON.parse(Files.contents(box.file("again/index.json")))
        if format != .dockerArchive {
            let digest = try box.fixture.store.resolve(name).manifestDigest
            #expect(copied["manifests"]?[0]?["digest"]?.string == digest?.description)
        }
    }

    @Test func skopeoReadsTheStoreItself() throws {
        let box = try ToolBox()
        _ = try box.load("layout")
        try box.fixture.store.tag("base", as: "localhost:5000/a/b:c")
        for name in ["base:latest", "localhost:5000/a/b:c"] {
            _ = try box.skopeo("inspect", "oci:\(box.fixture.root.ociPath):\(name)")
        }
        _ = try box.skopeo("copy", "oci:\(box.fixture.root.ociPath):base:latest", "dir:\(box.file("copied"))")
    }
}

@Suite(.requires(.root, .program("podman"))) struct PodmanTests {
    @Test func loadsWhatPodmanWroteAndBack() throws {
        let box = try ToolBox()
        _ = try box.load("layout")
        try box.fixture.store.tag("base", as: "docker.io/library/saved:1")
        for format in [ArchiveFormat.dockerArchive, .ociArchive] {
            try box.save("saved:1", as: format, to: "saved.tar")
            #expect(try box.podman("load", "-i", box.file("saved.tar")).contains("docker.io/library/saved:1"))
            let layers = try box.podman(
                "image",
                "inspect",
                "--format",
                "{{json .RootFS.Layers}}",
                "docker.io/library/saved:1"
            )
            #expect(try JSON.parse(Array(layers.utf8)).strings == box.diffIDs("saved:1"))
            let output = box.file("podman.\(format.rawValue)")
            _ = try box.podman("save", "--format", format.rawValue, "-o", output, "docker.io/library/saved:1")
            let other = try Fixture()
            let archive = try ImageArchive.open(FilePath(output), for: other.store)
            #expect(try other.load(archive).flatMap(\.messages) == ["Loaded image: saved:1"])
            #expect(
                try other.store.resolve("saved:1").config().diffIDs.map(\.description)
                    == box.diffIDs("saved:1")
            )
            _ = try box.podman("rmi", "-f", "docker.io/library/saved:1")
        }
    }
}

@Suite(.requires(.root, .program("umoci"))) struct UmociTests {
    @Test func loadsWhatUmociWroteAndBack() throws {
        let box = try ToolBox()
        _ = try run(
            "umoci",
            "config",
            "--image",
            "\(box.layout):base",
            "--tag",
            "changed",
            "--config.cmd",
            "/bin/sh",
            in: box.path
        )
        #expect(
            try box.load("layout").sorted() == ["Loaded image: base:latest", "Loaded image: changed:latest"]
        )
        #expect(try box.fixture.store.resolve("changed").config().command == ["/bin/sh"])
        let saved = FilePath(box.file("saved"))
        try box.fixture.store.save(try box.fixture.store.selectForSaving(["changed"]), to: saved) { _, _, _ in
        }
        _ = try run("umoci", "unpack", "--image", "\(saved):changed:latest", box.file("bundle"), in: box.path)
        #expect(try Files.contents(box.file("bundle/rootfs/etc/two")) == Array("2".utf8))
    }
}
