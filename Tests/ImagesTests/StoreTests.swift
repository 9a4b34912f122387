// SPDX-License-Identifier: Apache-2.0

import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import SystemPackage
import TestGates
import Testing

@Suite struct StoreTests {
    private func loaded(_ images: TestImage...) throws -> Fixture {
        let fixture = try Fixture()
        for image in images { try fixture.load(try TestImage.oci([image]), reading: false) }
        return fixture
    }

    private func image(_ text: String = "1", name: String = "test:1") throws -> TestImage {
        TestImage([try .gzip(["base": "base"]), try .gzip(["a": text])], name: name)
    }

    private func message(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func findsImages() throws {
        let image = try image()
        let fixture = try loaded(image)
        for name in [
            "test:1", "docker.io/library/test:1", image.id.description, image.id.hex,
            String(image.id.hex.prefix(3)),
        ] {
            #expect(try fixture.store.resolve(name).id == image.id)
        }
        for name in ["test", "test:2", "0123456789ab", String(repeating: "0", count: 64)] {
            #expect { try fixture.store.resolve(name) } throws: { ($0 as? StorageError)?.code == .notFound }
        }
        #expect(message { _ = try fixture.store.resolve("nope") } == "No such image: nope:latest")
        #expect(message { _ = try fixture.store.resolve("Nope") }?.contains("lowercase") == true)
    }

    /// The rows are what counts; the index for others follows when it can.
    @Test func anIndexThatCannotBeWrittenUndoesNothing() throws {
        let fixture = try loaded(try image())
        let index = fixture.root.ociPath.appending("index.json")
        _ = try Files.unlink(index)
        try Files.makeDirectory(index)
        let warnings = Mutex<[String]>([])
        let store = ImageStore(fixture.root, durable: false) { text in warnings.withLock { $0.append(text) } }
        try store.tag("test:1", as: "one")
        #expect(try store.resolve("one").id == store.resolve("test:1").id)
        #expect(warnings.withLock { $0.first?.contains("index.json") } == true)
        _ = try Files.unlink(index, isDirectory: true)
        try store.tag("test:1", as: "two")
        #expect(try fixture.indexNames().contains("one:latest"))
        #expect(warnings.withLock { $0.count } == 1)
    }

    @Test func tags() throws {
        let fixture = try loaded(try image(), try image("2", name: "other:1"))
        try fixture.store.tag("test:1", as: "quay.io/a/b")
        #expect(try fixture.indexNames() == ["other:1", "test:1", "quay.io/a/b:latest"])
        try fixture.store.tag("other:1", as: "test:1")
        #expect(try fixture.store.resolve("test:1").id == fixture.store.resolve("other:1").id)
        #expect(try fixture.store.references(of: fixture.store.resolve("quay.io/a/b").id).count == 1)
        let hex = String(repeating: "a", count: 64)
        #expect(
            message { try fixture.store.tag("test:1", as: "x@sha256:\(hex)") }?.hasPrefix("refusing") == true
        )
        #expect(message { try fixture.store.tag("gone", as: "x") } == "No such image: gone:latest")
    }

    @Test func removesNamesThenTheImage() throws {
        let image = try image()
        let other = try self.image("2", name: "other:1")
        let fixture = try loaded(image, other)
        try fixture.store.tag("test:1", as: "test:2")
        #expect(try fixture.remove("test:2") == ["Untagged: test:2"])
        let chains = [
            image.layers[0].diffID, .chainID(parent: image.layers[0].diffID, diffID: image.layers[1].diffID),
        ]
        // The base is the other image's too.
        #expect(
            try fixture.remove("test:1") == [
                "Untagged: test:1", "Deleted: \(image.id)", "Deleted: \(chains[1])",
            ]
        )
        let kept = other.blobs.compactMap { FilePath($0.0).lastComponent?.string }
        #expect(try fixture.blobFiles() == Set(kept))
        #expect(image.layers[0].digest == other.layers[0].digest)
        #expect(try fixture.remove(other.id.hex).suffix(1) == ["Deleted: \(chains[0])"])
        #expect(try fixture.blobFiles().isEmpty)
        #expect(try fixture.rows("blobs") == 0)
        #expect(try fixture.rows("image_layers") == 0)
        #expect(try fixture.indexNames().isEmpty)
        #expect(try fixture.root.lockNames().filter { $0.hasPrefix("sha256:") }.isEmpty)
    }

    @Test func removalConflicts() throws {
        let image = try image()
        let fixture = try loaded(image)
        let short = image.id.hex.prefix(12)
        let container = String(repeating: "c", count: 64)
        let stopped = [ImageUser(containerID: container, image: image.id, isRunning: false)]
        let running = [ImageUser(containerID: container, image: image.id, isRunning: true)]
        #expect(
            message { _ = try fixture.remove("test:1", users: stopped) }
                == "conflict: unable to remove repository reference \"test:1\" (must force) - container cccccccccccc is "
                + "using its referenced image \(short)"
        )
        #expect(
            message { _ = try fixture.remove(image.id.hex, users: stopped) }
                == "conflict: unable to delete \(short) (must be forced) - image is being used by stopped container cccccccccccc"
        )
        #expect(
            message { _ = try fixture.remove(image.id.hex, force: true, users: running) }
                == "conflict: unable to delete \(short) (cannot be forced) - image is being used by running container cccccccccccc"
        )
        // With force the name goes, and what runs keeps its image.
        #expect(try fixture.remove("test:1", force: true, users: running) == ["Untagged: test:1"])
        #expect(try fixture.rows("images") == 1)
        try fixture.store.tag(image.id.hex, as: "a:1")
        try fixture.store.tag(image.id.hex, as: "b:1")
        #expect(
            message { _ = try fixture.remove(image.id.hex) }
                == "conflict: unable to delete \(short) (must be forced) - image is referenced in multiple repositories"
        )
        #expect(
            try fixture.remove(image.id.hex, force: true, users: stopped).prefix(2) == [
                "Untagged: a:1", "Untagged: b:1",
            ]
        )
        #expect(try fixture.rows("images") == 0)
    }

    // MARK: - Commit

    /// Commits a layer; its tar is what `make` of the fixture's tests gives back.
    private func commit(
        _ fixture: Fixture,
        on parent: String?,
        _ layer: TestLayer,
        name: String
    ) throws -> LoadedImage {
        var commit = ImageCommit(
            parent: try parent.map { try fixture.store.resolve($0) },
            diffID: layer.diffID,
            size: Int64(layer.tar.count)
        )
        commit.author = "me"
        commit.message = "a note"
        commit.createdBy = "sh -c x"
        commit.changes = try ConfigChanges(["ENV A=b"])
        commit.references = [try Reference(parsing: name).tagged]
        return try fixture.store.record(fixture.store.prepare(commit))
    }

    @Test func commits() throws {
        let image = try image()
        let fixture = try loaded(image)
        let layer = try TestLayer.plain(["c": "3"])
        let files = try fixture.blobFiles()
        let committed = try commit(fixture, on: "test:1", layer, name: "new")
        // A commit writes rows and nothing else.
        #expect(try fixture.blobFiles() == files)
        let stored = try fixture.store.resolve("new")
        #expect(stored.id == committed.id)
        #expect(stored.parent == image.id)
        #expect(stored.manifestDigest == nil)
        let inspected = try fixture.store.inspect(stored)
        #expect(inspected["Config"]?["Env"]?.strings == ["PATH=/bin", "A=b"])
        #expect(inspected["Config"]?["Cmd"]?.strings == ["/bin/sh"])
        #expect(inspected["Author"]?.string == "me")
        #expect(inspected["Comment"]?.string == "a note")
        #expect(inspected["Parent"]?.string == "\(image.id)")
        #expect(inspected["RepoTags"]?.strings == ["new:latest"])
        #expect(inspected["RootFS"]?["Layers"]?.strings == (image.layers + [layer]).map { "\($0.diffID)" })
        #expect(inspected["Size"]?.int64 == (image.layers + [layer]).reduce(0) { $0 + Int64($1.tar.count) })
        let history = try fixture.store.history(stored)
        #expect(history.map(\.createdBy) == ["sh -c x", "test", "test"])
        #expect(history.map(\.size) == [layer, image.layers[1], image.layers[0]].map { Int64($0.tar.count) })
        #expect(history.map(\.id) == [stored.id, nil, nil])
        #expect(try fixture.indexNames() == ["test:1"])
        #expect(throws: StorageError.self) { try fixture.store.sources(of: stored.id)[2].open() }

        // What it stands on is not removed under it; with the child the nameless parent goes.
        #expect(
            message { _ = try fixture.remove(image.id.hex, force: true) }?.contains("dependent child images")
                == true
        )
        #expect(try fixture.remove("test:1") == ["Untagged: test:1"])
        #expect(try fixture.rows("images") == 2)
        let lines = try fixture.remove("new")
        #expect(lines.contains("Deleted: \(stored.id)"))
        #expect(lines.contains("Deleted: \(image.id)"))
        #expect(try fixture.rows("images") == 0)
        #expect(try fixture.blobFiles().isEmpty)
    }

    /// `rmi -f` of a child is no word on its parent.
    @Test func aNamelessParentInUseStays() throws {
        let image = try image()
        let fixture = try loaded(image)
        let child = try commit(fixture, on: "test:1", TestLayer.plain(["c": "3"]), name: "new")
        #expect(try fixture.remove("test:1") == ["Untagged: test:1"])
        let user = ImageUser(
            containerID: String(repeating: "c", count: 64),
            image: image.id,
            isRunning: false
        )
        let lines = try fixture.remove("new", force: true, users: [user])
        #expect(lines.contains("Deleted: \(child.id)"))
        #expect(!lines.contains("Deleted: \(image.id)"))
        #expect(try fixture.store.resolve(image.id.hex).id == image.id)
        #expect(try fixture.store.blobs.size(without: ["\(image.id)"]) == 0)
        #expect(try fixture.store.blobs.size(without: []) == fixture.store.blobs.totalSize())
        #expect(try fixture.remove(image.id.hex, force: true, users: [user]).contains("Deleted: \(image.id)"))
    }

    @Test func committedLayersGetTheirBlobs() throws {
        let image = try image()
        let fixture = try loaded(image)
        let layer = try TestLayer.plain(["c": "3"])
        let id = try commit(fixture, on: "test:1", layer, name: "new").id
        #expect {
            try fixture.store.complete(id) { _, _, sink in
                try [1, 2, 3].withUnsafeBytes { try sink.write($0) }
            }
        } throws: { ($0 as? StorageError)?.code == .corrupt }
        #expect(try fixture.store.resolve("new").manifestDigest == nil)
        let completed = try fixture.store.complete(id) { chain, diffID, sink in
            #expect(diffID == layer.diffID)
            #expect(chain == (try fixture.store.layers(of: id).last?.chainID))
            try layer.tar.withUnsafeBytes { try sink.write($0) }
        }
        #expect(completed.manifestDigest != nil)
        #expect(try fixture.indexNames() == ["new:latest", "test:1"])
        #expect(try fixture.store.sources(of: id).map { try Fixture.read($0) } == [["base"], ["a"], ["c"]])
        // Done once.
        try fixture.store.complete(id) { _, _, _ in Issue.record("it has its blob") }
    }

    @Test func commitOnARemovedImage() throws {
        let fixture = try loaded(try image())
        let layer = try TestLayer.plain(["c": "3"])
        let commit = ImageCommit(parent: try fixture.store.resolve("test:1"), diffID: layer.diffID, size: 1)
        let prepared = try fixture.store.prepare(commit)
        _ = try fixture.remove("test:1")
        #expect { try fixture.store.record(prepared) } throws: { ($0 as? StorageError)?.code == .notFound }
        #expect(try fixture.rows("images") == 0)
    }

    // MARK: - Import

    @Test(arguments: ["none", "gzip", "zstd", "xz", "bzip2"])
    func imports(_ compression: String) throws {
        let fixture = try Fixture()
        let layer = try TestLayer.plain(["etc/motd": "hi"])
        var path = try fixture.write(layer.tar, to: "rootfs.tar")
        if compression == "gzip" {
            path = try fixture.write(try Tar.gzip(layer.tar), to: "rootfs.tar.gz")
        } else if compression != "none" {
            try #require(Need.program(compression).unmet == nil)
            try run(compression, "-k", path.string, in: fixture.directory.path)
            path = FilePath(
                path.string + (["zstd": ".zst", "xz": ".xz", "bzip2": ".bz2"][compression] ?? "")
            )
        }
        var options = ImageImport(label: path.string)
        options.references = [try Reference(parsing: "imported").tagged]
        options.changes = try ConfigChanges(["CMD [\"/bin/sh\"]", "ENV A=b"])
        options.message = "from a file"
        options.platform = Platform(os: "linux", architecture: "arm64")
        let load = try fixture.store.importRootFS(SharedFD(try Files.open(path, 0)), options)
        #expect(try load.layers.map { try Fixture.read($0) } == [["etc/motd"]])
        let id = try load.finish().id
        let image = try fixture.store.resolve("imported")
        #expect(image.id == id)
        let config = try image.config()
        #expect(config.diffIDs == [layer.diffID])
        #expect(config.command == ["/bin/sh"])
        #expect(config.platform == options.platform)
        #expect(config.comment == "from a file")
        #expect(image.size == Int64(layer.tar.count))
        let blob = try #require(try fixture.store.layers(of: id)[0].blob)
        let stored = try Files.contents(fixture.store.blobs.path(of: blob))
        #expect(try stored == (["gzip", "zstd"].contains(compression) ? Files.contents(path) : layer.tar))
    }

    @Test func importsNoRubbish() throws {
        let fixture = try Fixture()
        for bytes in [[], Array("hello, this is no archive".utf8), [UInt8](repeating: 0, count: 2048)]
            as [[UInt8]]
        {
            let path = try fixture.write(bytes, to: "rootfs.tar")
            #expect(throws: StorageError.self) {
                try fixture.store.importRootFS(SharedFD(try Files.open(path, 0)), ImageImport(label: "x"))
            }
        }
        #expect(try fixture.blobFiles().isEmpty)
    }

    // MARK: - Garbage

    @Test func sweepsWhatNoRowNames() throws {
        let image = try image()
        let fixture = try loaded(image)
        let lost = String(repeating: "d", count: 64)
        let blobs = fixture.root.ociPath.appending("blobs/sha256")
        try Files.replace(blobs.appending(lost), with: [1, 2, 3], durable: false)
        try Files.replace(blobs.appending(".\(lost).12.3"), with: [1, 2, 3], durable: false)
        try Files.replace(blobs.appending("README"), with: [1], durable: false)
        do {
            // Somebody is about to record it.
            let held = try fixture.root.lock("sha256:\(lost)", .shared)
            #expect(try fixture.store.collectGarbage().count == 0)
            withExtendedLifetime(held) {}
        }
        let garbage = try fixture.store.collectGarbage()
        #expect(garbage.count == 2)
        #expect(garbage.bytes == 6)
        #expect(try fixture.blobFiles().count == 5)
        #expect(try Fixture.read(fixture.store.sources(of: image.id)[0]) == ["base"])
    }

    // MARK: - Check

    @Test func checksBlobs() throws {
        let image = try image()
        let fixture = try loaded(image)
        #expect(try fixture.store.check(repair: false).isEmpty)
        var bytes = image.layers[1].blob
        bytes[20] ^= 1
        try Files.replace(fixture.store.blobs.path(of: image.layers[1].digest), with: bytes, durable: false)
        try Files.replace(fixture.store.blobs.path(of: image.id), with: [1], durable: false)
        for _ in 0..<2 {
            let problems = try fixture.store.check(repair: false)
            #expect(problems.map(\.isRepaired) == [false, false])
            #expect(problems.contains { $0.description.contains(image.layers[1].digest.hex) })
        }
        // No driver has it unpacked: that stays wrong until it is loaded again.
        #expect(try fixture.store.check(repair: true).map(\.isRepaired) == [true, true, false])
        let left = try fixture.store.check(repair: false)
        #expect(left.count == 1 && left[0].description.contains("\(image.layers[1].diffID)"), "\(left)")
        // The config is there again; the layer comes with the next load.
        #expect(try Files.contents(fixture.store.blobs.path(of: image.id)) == image.config.bytes())
        #expect(try fixture.store.resolve("test:1").manifestDigest == nil)
        try fixture.load(try TestImage.oci([image]), reading: false)
        #expect(try fixture.store.resolve("test:1").manifestDigest == image.manifestDigest)
        #expect(try fixture.store.layers(of: image.id).map(\.blob) == image.layers.map(\.digest))
    }

    /// What lies in a blob's place may be anything.
    @Test(arguments: ["mkfifo", "mkdir", "ln -s /etc/passwd"])
    func checksWhatIsNoBlob(_ command: String) throws {
        let image = try image()
        let fixture = try loaded(image)
        let path = fixture.store.blobs.path(of: image.layers[1].digest)
        try Files.unlink(path)
        _ = try run("sh", "-c", "\(command) \(path)", in: "/")
        #expect(try fixture.store.check(repair: false).count == 1)
        let record = try #require(try fixture.store.blobs.record(of: image.layers[1].digest))
        #expect { try fixture.store.blobs.open(record) } throws: { ($0 as? StorageError)?.code == .corrupt }
        _ = try fixture.store.check(repair: true)
        #expect(try Files.status(path) == nil)
        try fixture.load(try TestImage.oci([image]), reading: false)
        #expect(try fixture.store.check(repair: false).isEmpty)
    }

    @Test func containersThatCameMeanwhileCount() throws {
        let image = try image()
        let fixture = try loaded(image)
        try fixture.root.database.transaction(durable: false) { transaction in
            try transaction.run(
                """
                INSERT INTO containers (id, name, image, image_reference, driver, layer, created, config, status)
                VALUES ('c1', 'c1', ?, 'test:1', 'vfs', 'aaaaaaaa', 0, '{}', 'running')
                """,
                [.text("\(image.id)")]
            )
        }
        #expect(message { _ = try fixture.remove("test:1") }?.contains("container c1 is using") == true)
        #expect(
            message { _ = try fixture.remove(image.id.hex, force: true) }?.contains("running container c1")
                == true
        )
    }
}
