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

/// Archives that must be refused with a clear line, and leave the store as it was.
@Suite struct HostileTests {
    private func expectRefused(
        _ bytes: [UInt8],
        _ code: StorageError.Code = .invalid,
        saying words: String? = nil,
        reading: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let fixture = try Fixture()
        do {
            try fixture.load(bytes, reading: reading)
            Issue.record("it was loaded", sourceLocation: sourceLocation)
        } catch let error as StorageError {
            #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
            #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
            if let words { #expect(error.description.contains(words), sourceLocation: sourceLocation) }
        }
        #expect(try fixture.rows("images") == 0, sourceLocation: sourceLocation)
        #expect(try fixture.rows("blobs") == 0, sourceLocation: sourceLocation)
        #expect(try fixture.rows("image_references") == 0, sourceLocation: sourceLocation)
        #expect(try fixture.blobFiles().isEmpty, sourceLocation: sourceLocation)
        // The locks of a failed load are swept.
        _ = try fixture.store.collectGarbage()
        #expect(
            try fixture.root.lockNames().filter { $0.hasPrefix("sha256:") }.isEmpty,
            sourceLocation: sourceLocation
        )
    }

    private func image() throws -> TestImage {
        TestImage([try .gzip(["etc/motd": "hi"]), try .plain(["b": "2"])])
    }

    @Test func noArchive() throws {
        try expectRefused([], saying: "not an archive of images")
        try expectRefused(Array("hello".utf8), saying: "not an archive of images")
        try expectRefused([UInt8](repeating: 0, count: 10240), saying: "not an archive of images")
        try expectRefused(try Tar.make([("etc/passwd", .file([]))]), saying: "import")
        try expectRefused(
            try Tar.make([("repositories", .file(Array("{}".utf8)))]),
            .unsupported,
            saying: "1.10"
        )
    }

    @Test func truncatedAtAnyBlock() throws {
        let image = try image()
        for whole in [try TestImage.oci([image]), try TestImage.docker([image])] {
            // Without the two blocks of zeros it is whole.
            let fixture = try Fixture()
            for count in stride(from: 0, to: whole.count - 1024 - 512, by: 512) {
                #expect(throws: StorageError.self) { try fixture.load(Array(whole[..<count])) }
                #expect(try fixture.rows("images") == 0)
                #expect(try fixture.blobFiles().isEmpty)
            }
        }
    }

    @Test(arguments: [true, false])
    func truncatedOrCorruptLayer(reading: Bool) throws {
        var short = try image()
        short.layers[0].blob.removeLast(9)
        short.remake()
        try expectRefused(try TestImage.oci([short]), .corrupt, reading: reading)
        try expectRefused(try TestImage.docker([short]), .corrupt, reading: reading)

        // The blob is not what its name says.
        var other = try image()
        let blobs = other.blobs
        other.layers[1].blob[700] ^= 1
        let bent = other.layers[1].blob
        let name = blobs[3].0
        let index: JSON = ["schemaVersion": 2, "manifests": [other.descriptor]]
        let bytes = try Tar.make(
            [
                ("oci-layout", .file(Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))),
                ("index.json", .file(index.bytes())),
            ]
                + blobs[..<3] + [(name, .file(bent))]
        )
        try expectRefused(
            bytes,
            .corrupt,
            saying: blobs[3].0.split(separator: "/").last.map(String.init),
            reading: reading
        )
    }

    @Test(arguments: [true, false])
    func wrongDiffID(reading: Bool) throws {
        var image = try image()
        let wrong = "sha256:" + String(repeating: "0", count: 64)
        image.config = bent(
            image.config,
            "rootfs",
            ["type": "layers", "diff_ids": [.string(wrong), .string("\(image.layers[1].diffID)")]]
        )
        image.remake()
        try expectRefused(try TestImage.oci([image]), .corrupt, saying: wrong, reading: reading)
        try expectRefused(try TestImage.docker([image]), .corrupt, saying: wrong, reading: reading)
    }

    /// A blob that the store has already is not taken for a layer that it is not.
    @Test func storedBlobUnderAnotherDiffID() throws {
        let fixture = try Fixture()
        let good = try image()
        try fixture.load(try TestImage.oci([good]))
        var bad = good
        let wrong = JSON.string("sha256:" + String(repeating: "0", count: 64))
        bad.config = bent(bad.config, "rootfs", ["type": "layers", "diff_ids": [wrong, wrong]])
        bad.name = "bad:1"
        bad.remake()
        #expect { try fixture.load(try TestImage.oci([bad]), reading: false) } throws: {
            ($0 as? StorageError)?.code == .invalid
        }
        #expect(try fixture.rows("images") == 1)
    }

    @Test func wrongNumberOfLayers() throws {
        var image = try image()
        image.config = bent(
            image.config,
            "rootfs",
            ["type": "layers", "diff_ids": [.string("\(image.layers[0].diffID)")]]
        )
        image.remake()
        try expectRefused(try TestImage.oci([image]), saying: "2 layers")
        try expectRefused(try TestImage.docker([image]), saying: "2 layers")
    }

    @Test func mediaTypesAndContent() throws {
        let image = try image()
        let index = "application/vnd.oci.image.index.v1+json"
        // CVE-2021-41190: one document that is a manifest to one reader and an index to another.
        for (key, value) in [
            ("manifests", JSON.array([])), ("mediaType", .string(index)), ("mediaType", 1),
            ("fsLayers", []), ("schemaVersion", 1), ("layers", nil), ("config", nil),
        ] as [(String, JSON?)] {
            var ambiguous = image
            ambiguous.manifest = bent(image.manifest, key, value)
            let descriptor = bent(
                ambiguous.descriptor,
                "mediaType",
                "application/vnd.oci.image.manifest.v1+json"
            )
            let code: StorageError.Code = key == "schemaVersion" ? .unsupported : .invalid
            try expectRefused(try TestImage.oci([ambiguous], descriptors: [descriptor]), code)
        }
        let asIndex = bent(image.descriptor, "mediaType", .string(index))
        try expectRefused(try TestImage.oci([image], descriptors: [asIndex]))

        let artifact = bent(image.descriptor, "mediaType", "application/vnd.example.thing")
        try expectRefused(try TestImage.oci([image], descriptors: [artifact]), saying: "no image")
        var chart = image
        chart.manifest = bent(
            image.manifest,
            "config",
            bent(image.manifest["config"] ?? nil, "mediaType", "application/vnd.helm")
        )
        try expectRefused(try TestImage.oci([chart]), .unsupported, saying: "not a container image")
        chart.manifest = bent(
            image.manifest,
            "config",
            bent(image.manifest["config"] ?? nil, "mediaType", "a\nb\u{1b}[2J")
        )
        try expectRefused(try TestImage.oci([chart]), .unsupported, saying: #"a\x0ab\x1b[2J"#)
        var encrypted = image
        encrypted.layers[0].mediaType += "+encrypted"
        encrypted.remake()
        try expectRefused(try TestImage.oci([encrypted]), .unsupported, saying: "media type")
        for reading in [true, false] {
            var mistyped = image
            mistyped.layers[0].mediaType = "application/vnd.oci.image.layer.v1.tar+zstd"
            mistyped.remake()
            try expectRefused(try TestImage.oci([mistyped]), saying: "zstd", reading: reading)
        }
    }

    @Test func foreignLayer() throws {
        var image = try image()
        let layer = bent(image.layers[0].descriptor, "urls", ["https://example.com/layer"])
        image.manifest = bent(image.manifest, "layers", [layer, image.layers[1].descriptor])
        try expectRefused(try TestImage.oci([image]), .unsupported, saying: "foreign layer")
    }

    @Test func descriptorsThatLie() throws {
        let image = try image()
        for (key, value) in [
            ("size", JSON.integer(3)), ("size", .integer(-1)), ("size", "3"), ("size", nil),
            ("digest", "sha256:../../x"),
            ("digest", .string("sha512:" + String(repeating: "a", count: 128))), ("digest", nil),
            ("digest", .string("sha256:" + String(repeating: "0", count: 64))),
        ] as [(String, JSON?)] {
            try expectRefused(try TestImage.oci([image], descriptors: [bent(image.descriptor, key, value)]))
        }
        var short = image
        short.manifest = bent(
            image.manifest,
            "layers",
            [bent(image.layers[0].descriptor, "size", 7), image.layers[1].descriptor]
        )
        try expectRefused(try TestImage.oci([short]), saying: "in place of 7")
    }

    @Test func endlessIndexes() throws {
        // An index cannot hold its own digest; nesting is bounded all the same.
        var inner: JSON = ["schemaVersion": 2, "manifests": []]
        var blobs: [(String, Tar.Member)] = []
        var descriptor: JSON = nil
        for _ in 0..<10 {
            let bytes = inner.bytes()
            let digest = Digest.sha256(of: bytes)
            blobs.append(("blobs/sha256/\(digest.hex)", .file(bytes)))
            descriptor = [
                "mediaType": "application/vnd.oci.image.index.v1+json", "digest": .string("\(digest)"),
                "size": .integer(bytes.count),
            ]
            inner = ["schemaVersion": 2, "manifests": [descriptor]]
        }
        try expectRefused(try TestImage.oci([], descriptors: [descriptor], more: blobs), saying: "nested")
    }

    @Test func badDocuments() throws {
        let image = try image()
        let deep = Array((String(repeating: "[", count: 100_000)).utf8)
        try expectRefused(try Tar.make([("manifest.json", .file(deep))]))
        try expectRefused(try Tar.make([("manifest.json", .file(Array("[]".utf8)))]))
        try expectRefused(try Tar.make([("manifest.json", .file(Array("[{}]".utf8)))]))
        try expectRefused(
            try Tar.make([("manifest.json", .file([UInt8](repeating: 0x20, count: 5 << 20)))]),
            saying: "more than"
        )
        for name in ["../../../etc/passwd", "/etc/passwd", "loop", "missing"] {
            let items: JSON = [["Config": .string(name), "RepoTags": nil, "Layers": []]]
            let bytes = try Tar.make([("loop", .symlink("loop")), ("manifest.json", .file(items.bytes()))])
            try expectRefused(bytes)
        }
        for name in ["Upper:1", "a b", "x@sha256:1", "../x"] {
            var named = image
            named.name = name
            try expectRefused(try TestImage.docker([named]), saying: "invalid reference format")
        }
        var windows = image
        windows.config = bent(image.config, "os", "windows")
        windows.remake()
        try expectRefused(try TestImage.oci([windows]), .unsupported, saying: "windows")
        let layout = try Tar.make([
            ("oci-layout", .file(Array(#"{"imageLayoutVersion":"2.0.0"}"#.utf8))),
            ("index.json", .file(Array("{}".utf8))),
        ])
        try expectRefused(layout, .unsupported, saying: "version")
    }

    @Test func directoryThatLeadsOut() throws {
        let fixture = try Fixture()
        let outside = try fixture.write(Array(#"{"schemaVersion":2,"manifests":[]}"#.utf8), to: "outside")
        let layout = fixture.directory.appending("layout")
        try Files.makeDirectories(layout)
        try Files.replace(
            layout.appending("oci-layout"),
            with: Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8),
            durable: false
        )
        #expect(symlink(outside.string, layout.appending("index.json").string) == 0)
        #expect { try ImageArchive.open(layout, for: fixture.store) } throws: {
            "\($0)".contains("holds no images")
        }
        _ = try Files.unlink(layout.appending("index.json"))
        #expect(mkfifo(layout.appending("index.json").string, 0o600) == 0)
        #expect { try ImageArchive.open(layout, for: fixture.store) } throws: {
            "\($0)".contains("holds no images")
        }
    }
}
