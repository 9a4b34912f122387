// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@Suite struct LoadTests {
    @Test(arguments: [true, false])
    func loadsOCIArchive(reading: Bool) throws {
        let fixture = try Fixture(durable: true)
        let image = TestImage(
            [try .gzip(["etc/motd": "hi"]), try .plain(["b": "2"])],
            name: "docker.io/library/bb:1"
        )
        let loaded = try fixture.load(try TestImage.oci([image]), reading: reading)
        #expect(loaded.flatMap(\.messages) == ["Loaded image: bb:1"])

        let stored = try fixture.store.resolve("bb:1")
        #expect(stored.id == image.id)
        #expect(stored.manifestDigest == image.manifestDigest)
        #expect(stored.configBytes == image.config.bytes())
        #expect(stored.created == Timestamp(rfc3339: "2026-11-21T15:10:24.5Z"))
        #expect(stored.size == Int64(image.layers.reduce(0) { $0 + $1.tar.count }))
        let layers = try fixture.store.layers(of: stored.id)
        #expect(layers.map(\.blob) == image.layers.map(\.digest))
        #expect(layers.map(\.diffID) == image.layers.map(\.diffID))
        #expect(layers.map(\.size) == image.layers.map { Int64($0.tar.count) })
        #expect(
            try fixture.blobFiles()
                == Set(image.layers.map(\.digest.hex) + [image.id.hex, image.manifestDigest.hex])
        )
        for layer in image.layers {
            #expect(try Files.contents(fixture.store.blobs.path(of: layer.digest)) == layer.blob)
        }
        #expect(try fixture.indexNames() == ["bb:1"])
        #expect(try fixture.index()["manifests"]?[0]?["digest"]?.string == "\(image.manifestDigest)")
    }

    @Test func readsLayersBackFromTheirBlobs() throws {
        let fixture = try Fixture()
        let image = TestImage([try .gzip(["a": "1"]), try .gzip(["b": "2"])])
        try fixture.load(try TestImage.oci([image]), reading: false)
        let sources = try fixture.store.sources(of: image.id)
        #expect(sources.map(\.size) == image.layers.map { Int64($0.blob.count) })
        #expect(try sources.map { try Fixture.read($0) } == [["a"], ["b"]])
        #expect(sources[1].chainID == .chainID(parent: sources[0].diffID, diffID: sources[1].diffID))
    }

    @Test(arguments: [true, false])
    func loadsDockerArchive(reading: Bool) throws {
        let fixture = try Fixture()
        let base = try TestLayer.plain(["a": "1"])
        let one = TestImage([base], name: "one:1")
        let two = TestImage([base, try .gzip(["b": "2"])], name: "quay.io/x/two")
        let loaded = try fixture.load(try TestImage.docker([one, two]), reading: reading)
        #expect(loaded.flatMap(\.messages) == ["Loaded image: one:1", "Loaded image: quay.io/x/two:latest"])
        let stored = try fixture.store.resolve("quay.io/x/two")
        #expect(stored.id == two.id)
        // The manifest is made of the blobs as they came.
        let manifest = try JSON.parse(
            fixture.store.blobs.contents(try #require(stored.manifestDigest), limit: 1 << 20)
        )
        #expect(
            manifest["layers"]?.array?.compactMap { $0["digest"]?.string }
                == two.layers.map { "\($0.digest)" }
        )
        #expect(
            manifest["layers"]?.array?.compactMap { $0["mediaType"]?.string } == two.layers.map(\.mediaType)
        )
        #expect(try fixture.store.resolve(String(two.id.hex.prefix(12))).id == two.id)
    }

    @Test func duplicatedAndEmptyLayersAreFine() throws {
        let fixture = try Fixture()
        let layer = try TestLayer.gzip(["a": "1"])
        let empty = try TestLayer.gzip([:])
        let image = TestImage([layer, empty, layer, empty])
        try fixture.load(try TestImage.docker([image]))
        #expect(try fixture.store.layers(of: image.id).map(\.blob) == image.layers.map(\.digest))
        let none = TestImage([], name: "none:1")
        try fixture.load(try TestImage.oci([none]))
        #expect(try fixture.store.layers(of: none.id).isEmpty)
    }

    @Test func followsLinksOfOldArchives() throws {
        let fixture = try Fixture()
        let image = TestImage([try .plain(["a": "1"]), try .plain(["b": "2"])])
        let items: JSON = [
            [
                "Config": "./config.json", "RepoTags": ["old:1"],
                "Layers": ["x/layer.tar", "y/layer.tar"],
            ]
        ]
        let bytes = try Tar.make([
            ("config.json", .file(image.config.bytes())),
            ("0.tar", .file(image.layers[0].blob)), ("1.tar", .file(image.layers[1].blob)),
            ("x", .directory), ("x/layer.tar", .symlink("../0.tar")), ("z/layer.tar", .symlink("/../1.tar")),
            ("y/layer.tar", .hardLink("z/layer.tar")), ("manifest.json", .file(items.bytes())),
        ])
        #expect(try fixture.load(bytes).first?.id == image.id)
    }

    /// Docker 25.0 wrote manifests without layers beside a right manifest.json; later ones agree with it.
    @Test(arguments: [true, false])
    func readsDockersOwnLayout(isWhole: Bool) throws {
        let fixture = try Fixture()
        var image = TestImage([try .plain(["a": "1"])])
        let layers = image.manifest["layers"]
        if !isWhole { image.manifest = bent(image.manifest, "layers", []) }
        let items: JSON = [
            [
                "Config": .string("blobs/sha256/\(image.id.hex)"), "RepoTags": ["test:2"],
                "Layers": [.string("blobs/sha256/\(image.layers[0].digest.hex)")],
            ]
        ]
        let bytes = try TestImage.oci([image], more: [("manifest.json", .file(items.bytes()))])
        #expect(try fixture.load(bytes).flatMap(\.messages) == ["Loaded image: test:2"])
        let stored = try fixture.store.resolve("test:2")
        #expect((stored.manifestDigest == image.manifestDigest) == isWhole)
        #expect(try fixture.store.layers(of: stored.id).map(\.blob) == image.layers.map(\.digest))
        #expect(layers?.array?.count == 1)
    }

    @Test func readsFromDirectoryPipeAndCompressed() throws {
        let image = TestImage([try .gzip(["a": "1"])])
        let bytes = try TestImage.oci([image])
        do {
            let fixture = try Fixture()
            let files = try Tar.files(bytes, in: fixture)
            for (name, content) in files {
                let path = fixture.directory.appending("layout").appending(name)
                try Files.makeDirectories(path.removingLastComponent())
                try Files.replace(path, with: content, durable: false)
            }
            let archive = try ImageArchive.open(fixture.directory.appending("layout"), for: fixture.store)
            #expect(try fixture.load(archive).first?.id == image.id)
        }
        do {
            let fixture = try Fixture()
            let archive = try fixture.archive(try Tar.gzip(bytes))
            #expect(try fixture.load(archive).first?.id == image.id)
        }
        for content in [bytes, try Tar.gzip(bytes)] {
            let fixture = try Fixture()
            var ends: [CInt] = [0, 0]
            try system("pipe") { pipe(&ends) }
            let reader = SharedFD(OwnedFD(adopting: ends[0]))
            let writer = SharedFD(OwnedFD(adopting: ends[1]))
            // A pipe takes 64 KiB without a reader.
            try #require(content.count < 60 << 10)
            try Files.writeAll(content, to: writer.raw)
            try system("close") { dup2(reader.raw, writer.raw) }
            let archive = try ImageArchive.open(reader, label: "stdin", for: fixture.store)
            #expect(try fixture.load(archive).first?.id == image.id)
        }
    }

    @Test func picksThisMachinesPlatform() throws {
        let fixture = try Fixture()
        let images = ["amd64", "arm64", "s390x"].map { TestImage([], name: "multi:1", architecture: $0) }
        let arm = Platform(os: "linux", architecture: "arm64", variant: "v8")
        let index: JSON = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": .array(
                images.map {
                    bent(
                        $0.descriptor,
                        "platform",
                        ["os": "linux", "architecture": $0.config["architecture"] ?? ""]
                    )
                }
                    + [bent(images[0].descriptor, "platform", ["os": "unknown", "architecture": "unknown"])]
            ),
        ]
        let outer: JSON = [
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": .string("\(Digest.sha256(of: index.bytes()))"),
            "size": .integer(index.bytes().count),
            "annotations": ["io.containerd.image.name": "docker.io/library/multi:2"],
        ]
        let blob = ("blobs/sha256/\(Digest.sha256(of: index.bytes()).hex)", Tar.Member.file(index.bytes()))
        let nested = try TestImage.oci(images, descriptors: [outer], more: [blob])
        #expect(try fixture.archive(nested, platform: arm).images.map(\.id) == [images[1].id])
        #expect(
            try fixture.archive(nested, platform: arm).images.first?.references.map(\.familiar) == ["multi:2"]
        )
        // The same in index.json itself, with and without a word on the platform.
        let flat = try TestImage.oci(images)
        #expect(try fixture.archive(flat, platform: arm).images.map(\.id) == [images[1].id])
        #expect {
            try fixture.archive(flat, platform: Platform(os: "linux", architecture: "riscv64"))
        } throws: { error in
            (error as? StorageError)?.code == .unsupported && "\(error)".contains("linux/arm64")
        }
    }

    @Test func secondLoadReadsNothing() throws {
        let fixture = try Fixture()
        let image = TestImage([try .gzip(["a": "1"])])
        let oci = try TestImage.oci([image])
        try fixture.load(oci)
        let blob = fixture.store.blobs.path(of: image.layers[0].digest)
        let before = try Files.status(blob)
        try fixture.load(oci, reading: false)
        try fixture.load(try TestImage.docker([image]), reading: false)
        #expect(try Files.status(blob)?.inode == before?.inode)
        #expect(try fixture.store.resolve("test:1").manifestDigest == image.manifestDigest)
        #expect(try fixture.rows("images") == 1)
    }

    /// The archive of the same layer, compressed otherwise, brings its own blob; the image goes out as it
    /// came in last.
    @Test func sameImageWithOtherBlobs() throws {
        let fixture = try Fixture()
        let packed = TestImage([try .gzip(["a": "1"])])
        var plain = packed
        plain.layers = [try .plain(["a": "1"])]
        plain.remake()
        try fixture.load(try TestImage.oci([packed]))
        try fixture.load(try TestImage.oci([plain]))
        #expect(try fixture.store.resolve("test:1").manifestDigest == plain.manifestDigest)
        #expect(try fixture.store.collectGarbage().count == 2)
        #expect(
            try fixture.blobFiles() == [plain.id.hex, plain.manifestDigest.hex, plain.layers[0].digest.hex]
        )
    }

    @Test func damagedBlobIsReplaced() throws {
        let fixture = try Fixture()
        let image = TestImage([try .gzip(["a": "1"])])
        try fixture.load(try TestImage.oci([image]))
        let path = fixture.store.blobs.path(of: image.layers[0].digest)
        try Files.replace(path, with: [1, 2, 3], durable: false)
        #expect { try fixture.store.sources(of: image.id)[0].open() } throws: {
            ($0 as? StorageError)?.code == .notFound
        }
        try fixture.load(try TestImage.oci([image]))
        #expect(try Files.contents(path) == image.layers[0].blob)
        // What has no row is never trusted, whatever its name says.
        let other = TestImage([try .gzip(["b": "1"])], name: "other:1")
        try Files.replace(
            fixture.store.blobs.path(of: other.layers[0].digest),
            with: [UInt8](repeating: 0, count: other.layers[0].blob.count),
            durable: false
        )
        try fixture.load(try TestImage.oci([other]), reading: false)
        #expect(
            try Files.contents(fixture.store.blobs.path(of: other.layers[0].digest)) == other.layers[0].blob
        )
    }

    @Test func namesMoveToTheImageThatCameLast() throws {
        let fixture = try Fixture()
        let first = TestImage([try .plain(["a": "1"])])
        let second = TestImage([try .plain(["a": "2"])])
        try fixture.load(try TestImage.oci([first]))
        let loaded = try fixture.load(try TestImage.oci([second]))
        #expect(
            loaded.flatMap(\.messages) == [
                "The image test:1 already exists, renaming the old one with ID \(first.id) to empty string",
                "Loaded image: test:1",
            ]
        )
        #expect(try fixture.store.resolve("test:1").id == second.id)
        #expect(try fixture.store.references(of: first.id).isEmpty)
        #expect(try fixture.store.list().map { $0.reference?.familiar }.contains(nil))
    }

    @Test func loadsOfTheSameImageSideBySide() async throws {
        let fixture = try Fixture()
        let image = TestImage([try .gzip(["a": "1"]), try .plain(["b": "1"])])
        let path = try fixture.write(try TestImage.oci([image]), to: "shared.tar")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for _ in 0..<5 {
                        let archive = try ImageArchive.open(path, for: fixture.store)
                        try fixture.load(archive, reading: worker % 2 == 0)
                        if worker == 3 { _ = try? fixture.remove("test:1") }
                        if worker == 2 { _ = try fixture.store.collectGarbage() }
                    }
                }
            }
            try await group.waitForAll()
        }
        try fixture.load(ImageArchive.open(path, for: fixture.store))
        for layer in try fixture.store.sources(of: image.id) { try Fixture.read(layer) }
        _ = try fixture.store.collectGarbage()
        #expect(try fixture.blobFiles().count == 4)
    }
}

/// `json` with one member set.
func bent(_ json: JSON, _ key: String, _ value: JSON?) -> JSON {
    var object = json.object ?? JSONObject()
    object[key] = value
    return .object(object)
}
