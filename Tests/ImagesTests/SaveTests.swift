// SPDX-License-Identifier: Apache-2.0

import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@Suite struct SaveTests {
    private static func noLayers(_ chainID: Digest, _ diffID: Digest, _ sink: any ByteSink) throws {
        throw StorageError(.notFound, "layer \(diffID) has no blob")
    }

    private func save(_ fixture: Fixture, _ names: String..., as format: ArchiveFormat) throws -> [UInt8] {
        let output = ByteCollector()
        try fixture.store.save(
            fixture.store.selectForSaving(names),
            as: format,
            to: output,
            make: Self.noLayers
        )
        return output.bytes
    }

    private func loaded() throws -> (Fixture, TestImage, TestImage) {
        let base = try TestLayer.gzip(["base": "base"])
        let one = TestImage([base], name: "one:1")
        let two = TestImage([base, try .plain(["b": "2"])], name: "quay.io/x/two:2")
        let fixture = try Fixture()
        try fixture.load(try TestImage.oci([one, two]))
        return (fixture, one, two)
    }

    @Test(arguments: [ArchiveFormat.dockerArchive, .ociArchive])
    func goesOutAsItCameIn(_ format: ArchiveFormat) throws {
        let (fixture, one, two) = try loaded()
        let bytes = try save(fixture, "one:1", "quay.io/x/two:2", as: format)
        #expect(try save(fixture, "one:1", "quay.io/x/two:2", as: format) == bytes)
        let files = try Tar.files(bytes, in: fixture)
        for image in [one, two] {
            for layer in image.layers { #expect(files["blobs/sha256/\(layer.digest.hex)"] == layer.blob) }
            #expect(files["blobs/sha256/\(image.manifestDigest.hex)"] == image.manifest.bytes())
            #expect(files["blobs/sha256/\(image.id.hex)"] == image.config.bytes())
        }
        #expect((files["manifest.json"] != nil) == (format == .dockerArchive))

        let other = try Fixture()
        #expect(
            try other.load(bytes).flatMap(\.messages).sorted()
                == ["Loaded image: one:1", "Loaded image: quay.io/x/two:2"]
        )
        #expect(try other.store.resolve("one:1").manifestDigest == one.manifestDigest)
        #expect(try other.store.resolve("quay.io/x/two:2").manifestDigest == two.manifestDigest)
        #expect(try save(other, "one:1", "quay.io/x/two:2", as: format) == bytes)
    }

    @Test func savesToADirectory() throws {
        let (fixture, one, _) = try loaded()
        let path = fixture.directory.appending("saved")
        let selected = try fixture.store.selectForSaving(["one:1"])
        try fixture.store.save(selected, to: path, make: Self.noLayers)
        let other = try Fixture()
        try other.load(ImageArchive.open(path, for: other.store))
        #expect(try other.store.resolve("one:1").manifestDigest == one.manifestDigest)
        #expect { try fixture.store.save(selected, to: path, make: Self.noLayers) } throws: {
            ($0 as? StorageError)?.code == .exists
        }
    }

    @Test func selects() throws {
        let (fixture, one, two) = try loaded()
        try fixture.store.tag("one:1", as: "one:2")
        let named = { (arguments: [String]) in
            try fixture.store.selectForSaving(arguments).map { ($0.image.id, $0.references.map(\.familiar)) }
        }
        #expect(try named(["one"]).map(\.1) == [["one:1", "one:2"]])
        #expect(try named(["one:2", two.id.hex, "one:2"]).map(\.1) == [["one:2"], []])
        #expect(try named([String(one.id.hex.prefix(12))]).map(\.0) == [one.id])
        #expect { try named(["none"]) } throws: { ($0 as? StorageError)?.code == .notFound }
        // Without a name it is loaded without one.
        let bytes = try save(fixture, one.id.hex, as: .dockerArchive)
        let other = try Fixture()
        #expect(try other.load(bytes).flatMap(\.messages) == ["Loaded image ID: \(one.id)"])
        #expect(try other.store.list().map(\.isNameless) == [true])
    }
}
