// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import CLinux
import DriverConformance
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import BtrfsDriver

/// What is btrfs' own; what all drivers have in common is the conformance suite's.
@Suite(.requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs")))
struct BtrfsDriverTests {
    private let home: FilePath
    private let driver: BtrfsDriver
    private let scratch: TemporaryDirectory

    init() throws {
        scratch = try TemporaryDirectory(below: LoopFileSystem.shared("btrfs").path)
        home = scratch.appending("home")
        driver = try BtrfsDriver(home: home, options: [:])
    }

    // MARK: Probe and options

    @Test func probeMakesASubvolumeAndCleansUp() throws {
        guard case .works = BtrfsDriver.probe(home: scratch.appending("not/yet/there")) else {
            Issue.record("the probe says that btrfs does not work")
            return
        }
        #expect(try Files.list(scratch.fd).map(\.name) == ["home"])
    }

    @Test func probeNamesTheFileSystemAndTheRemedy() throws {
        let other = try TemporaryDirectory()
        let type = try Files.fileSystemType(other.fd)
        guard case .unavailable(let reason, let remedy) = BtrfsDriver.probe(home: other.appending("home"))
        else {
            Issue.record("the probe says that btrfs works on \(type)")
            return
        }
        #expect(reason.contains(type))
        #expect(remedy?.contains("btrfs.loop") == true)
        #expect(try Files.list(other.fd).isEmpty)
    }

    /// A store that was copied elsewhere has directories in the place of subvolumes.
    @Test func homeMovedToAnotherFileSystem() throws {
        let other = try TemporaryDirectory()
        try Files.makeDirectories(other.appending("home/layers"))
        #expect {
            _ = try BtrfsDriver(home: other.appending("home"), options: [:])
        } throws: { error in
            let error = error as? StorageError
            return error?.code == .unsupported && error?.remedy?.contains("load its images again") == true
        }
    }

    @Test func copiedStoreIsNoStore() throws {
        let id = LayerID.random()
        try Files.makeDirectory(home.appending("layers/\(id)"))
        #expect(throws: StorageError.self) { _ = try driver.changes(id, over: LayerChain()) }
        #expect(try driver.list() == [id])
        try driver.remove(id)
        try driver.emptyTrash { false }
        #expect(try Files.list(home.appending("layers")).isEmpty)
    }

    @Test(arguments: [["btrfs.loop": "carrier pigeon"], ["btrfs.loop": "1"], ["btrfs.turbo": "on"]])
    func refusesOddOptions(_ options: [String: String]) throws {
        let other = scratch.appending("other")
        #expect { _ = try BtrfsDriver(home: other, options: options) } throws: {
            ($0 as? StorageError)?.code == .invalid
        }
        #expect(try Files.status(other) == nil)
    }

    // MARK: Layers

    @Test func sealedLayersAreReadOnly() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        #expect(throws: StorageError.self) {
            _ = try driver.mount(base, over: LayerChain(), access: .readWrite)
        }
        let tree = try Files.openDirectory(home.appending("layers/\(base)"))
        #expect(throws: SystemError.self) { try write("two", "file", below: tree.raw) }
    }

    @Test func deletedBehindOurBack() throws {
        let base = try driver.sealedLayer { _ in }
        try driver.remove(base)
        for use in [
            { _ = try driver.mount(base, over: LayerChain(), access: .readOnly) },
            { _ = try driver.changes(base, over: LayerChain()) },
            { _ = try driver.usage(base) },
        ] {
            #expect(throws: StorageError.self) { try use() }
        }
        let id = LayerID.random()
        #expect { try driver.prepare(id, over: LayerChain([base]), options: LayerOptions()) } throws: {
            ($0 as? StorageError)?.code == .notFound
        }
        #expect(try driver.list().isEmpty)
    }

    /// A layer that was made anew is not what its children are snapshots of.
    @Test func changesOverAParentMadeAnew() throws {
        func fill(_ tree: CInt) throws {
            for name in ["one", "two", "three"] { try write(name, name, below: tree) }
        }
        let base = try driver.sealedLayer(fill)
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { try write("changed", "two", below: $0) }
        let again = try driver.sealedLayer(fill)
        try driver.remove(base)
        try driver.emptyTrash { false }
        let changes = try driver.changes(id, over: LayerChain([again])).changes
        #expect(changes.map(\.line) == ["C /", "C /two"])
    }

    @Test func usageIsTheLayersOwn() throws {
        let base = try driver.sealedLayer {
            try write(String(repeating: "x", count: 1 << 20), "big", below: $0)
        }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        #expect(try driver.usage(id).bytes == 0)
        try driver.change(id) { try write(String(repeating: "y", count: 256 << 10), "small", below: $0) }
        let usage = try driver.usage(id)
        #expect(usage.bytes == 256 << 10)
        #expect(usage.inodes == 2)
        #expect(try driver.usage(base).bytes == 1 << 20)
        #expect(try driver.sharedBytes(id) == 1 << 20)
        #expect(try driver.sharedBytes(base) == 0)
    }

    /// Which a container makes in its layer; what two of them have in common counts once.
    @Test func usageHasNestedSubvolumes() throws {
        let base = try driver.sealedLayer {
            try write(String(repeating: "x", count: 1 << 20), "big", below: $0)
        }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { tree in
            try Subvolume.create("one", below: tree)
            let one = try Subvolume.open("one", below: tree)
            try write(String(repeating: "y", count: 512 << 10), "file", below: one.raw)
            try Subvolume.snapshot(one.raw, as: "two", below: one.raw)
            // Nothing of this is the layer's own.
            try Subvolume.snapshot(tree, as: "whole", below: tree)
        }
        #expect(try driver.usage(id).bytes == 512 << 10)
        #expect(try driver.sharedBytes(id) == 1 << 20)
        try driver.remove(id)
    }

    /// Content that differs where nothing else does, in files that are large enough for a short cut.
    @Test func contentOfLargeFiles() throws {
        let size = 1 << 20
        let base = try driver.sealedLayer { tree in
            for name in ["linked", "written", "punched", "same"] {
                try write(String(repeating: "x", count: size), name, below: tree)
            }
        }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { tree in
            try system("link") { clinux_linkat(tree, "linked", tree, "other", 0) }
            try write(String(repeating: "x", count: size - 1) + "y", "written", below: tree)
            try write(String(repeating: "x", count: size), "same", below: tree)
            let file = try Files.open("punched", below: tree, O_RDWR)
            let punchHoleKeepSize: CInt = 3
            try system("punch") { clinux_fallocate(file.raw, punchHoleKeepSize, 4096, 65536) }
            try system("futimens") { clinux_utimensat(file.raw, "", Int64(size), 0, 0) }
        }
        let changes = try driver.changes(id, over: LayerChain([base])).changes
        #expect(changes.map(\.line) == ["C /", "C /linked", "A /other", "C /punched", "C /written"])
    }

    /// Content of the same length, which the trees do not know of until it is written, long after the last transaction.
    @Test func seesWhatIsNotWrittenYet() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        for text in ["two", "six"] {
            try driver.change(id) { tree in
                let file = try Files.open("file", below: tree, O_WRONLY)
                try Files.writeAll(Array(text.utf8), to: file.raw)
            }
            // Ends the transaction, and writes nothing of the other layer.
            _ = try driver.sealedLayer { _ in }
            let changes = try driver.changes(id, over: LayerChain([base])).changes
            #expect(changes.map(\.line) == ["C /", "C /file"])
        }
    }

    // MARK: Subvolumes that containers make

    @Test func nestedSubvolumesAreDirectories() throws {
        let base = try driver.sealedLayer { try Files.makeDirectory("data", below: $0, mode: 0o755) }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { tree in
            let data = try Files.openDirectory("data", below: tree)
            try system("make", nil) { cbtrfs_create(data.raw, "outer") }
            let outer = try Files.openDirectory("outer", below: data.raw)
            try write("text", "file", below: outer.raw)
            try system("link") { clinux_linkat(outer.raw, "file", outer.raw, "link", 0) }
            try system("make", nil) { cbtrfs_create(outer.raw, "inner") }
            let inner = try Files.openDirectory("inner", below: outer.raw)
            try write("deep", "file", below: inner.raw)
            try system("snapshot", nil) { cbtrfs_snapshot(tree, "copy", tree, 1) }
        }
        let expected = [
            "C /", "A /copy", "A /copy/data", "A /copy/data/outer", "C /data", "A /data/outer",
            "A /data/outer/file", "A /data/outer/inner", "A /data/outer/inner/file", "A /data/outer/link",
        ]
        #expect(try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == expected)
        try driver.seal(id, over: LayerChain([base]), undecided: Undecided())
        #expect(try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == expected)

        // A child shows what is in them.
        let child = LayerID.random()
        let chain = LayerChain([base, id])
        try driver.prepare(child, over: chain, options: LayerOptions())
        let mounted = try driver.mount(child, over: chain, access: .readOnly)
        #expect(try Files.contents("data/outer/inner/file", below: mounted.root.raw) == Array("deep".utf8))
        #expect(try driver.changes(child, over: chain).changes.isEmpty)
    }

    @Test func hundredsOfNestedSubvolumesGoWithTheLayer() throws {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        try driver.change(id) { tree in
            for number in 0..<50 {
                try system("make", nil) { cbtrfs_create(tree, "n\(number)") }
                try system("snapshot", nil) {
                    cbtrfs_snapshot(tree, "s\(number)", tree, number % 2 == 0 ? 1 : 0)
                }
            }
            // Read-only, with another one in it.
            let frozen = try Files.openDirectory("n7", below: tree)
            try system("make", nil) { cbtrfs_create(frozen.raw, "inner") }
            try system("freeze", nil) { cbtrfs_set_read_only(frozen.raw, 1) }
            // One in the other, deeper than a path can tell.
            var directory = try Files.openDirectory(".", below: tree)
            for _ in 0..<30 {
                let name = String(repeating: "d", count: 200)
                try system("make", nil) { cbtrfs_create(directory.raw, name) }
                directory = try Files.openDirectory(name, below: directory.raw)
            }
        }
        try driver.remove(id)
        #expect(try driver.list().isEmpty)
        try driver.emptyTrash { false }
        #expect(try Files.list(home.appending("layers")).isEmpty)
        try driver.waitUntilFreed { false }
    }

    /// A file system that was full has space for names, which lie with the metadata, as soon as the wait is over.
    ///
    /// And it is over, though where no file has data the kernel makes a group for the last one that is given up.
    @Test(arguments: [Int64(160 << 20), 8 << 30])
    func whatWasSetAsideForDataIsFree(size: Int64) throws {
        let disk = try LoopFileSystem("btrfs", size: size, options: ["-m", "single"])
        let home = disk.path.appending("home")
        let driver = try BtrfsDriver(home: home, options: [:])
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        try driver.change(id) { tree in
            let file = try Files.open("large", below: tree, O_WRONLY | O_CREAT, mode: 0o600)
            #expect(posix_fallocate(file.raw, 0, off_t(size / 8 * 5)) == 0)
        }
        let top = try Files.openDirectory(home)
        func free() throws -> Int64 {
            var space = cbtrfs_space()
            try system("ask for space") { cbtrfs_space(top.raw, &space) }
            return size - Int64(space.data_total + space.metadata_total)
        }
        #expect(try free() < size / 8 * 3)
        try driver.remove(id)
        try driver.emptyTrash { false }
        var pauses = 0
        try driver.waitUntilFreed {
            pauses += 1
            return pauses >= 3000
        }
        #expect(pauses < 3000)
        #expect(try free() >= min(2 << 30, size / 5))
    }

    // MARK: Temporary snapshots

    /// What somebody is reading is not swept; what a killed command left is.
    @Test func sweepsSnapshotsThatNobodyHolds() throws {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        let layers = try Files.openDirectory(home.appending("layers"))
        let tree = try Files.openDirectory(id.rawValue, below: layers.raw)
        for name in ["changes.\(id).1", "changes.\(id).2", "removed.\(id).3"] {
            try system("snapshot", name) { cbtrfs_snapshot(layers.raw, name, tree.raw, 1) }
        }
        let held = try Files.openDirectory("changes.\(id).2", below: layers.raw)
        #expect(clinux_flock(held.raw, LOCK_SH | LOCK_NB) == 0)
        try driver.emptyTrash { false }
        #expect(Set(try Files.list(layers.raw).map(\.name.printable)) == [id.rawValue, "changes.\(id).2"])
        #expect(try driver.list() == [id])
    }

    @Test func changesLeaveNothingBehind() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { try write("two", "file", below: $0) }
        _ = try driver.changes(id, over: LayerChain([base]))
        #expect(
            Set(try Files.list(home.appending("layers")).map(\.name.printable)) == [
                base.rawValue, id.rawValue,
            ]
        )
    }

    /// A layer that is written to is seen as it was at one moment.
    @Test(.requires(.program("python3"))) func changesAreOfOneMoment() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        try driver.change(id) { tree in
            try write("x", "a", below: tree)
            try Files.makeDirectory("p", below: tree)
            try write("y", "p/k", below: tree)
        }
        let writer = try Program.start([
            "python3", "-uc",
            """
            import os
            os.chdir("\(home.appending("layers").appending(id.rawValue))")
            print("begun")
            while True:
                os.rename("a", "b")
                os.rename("p", "q")
                os.mkdir("x")
                os.rmdir("x")
                os.rename("q", "p")
                os.rename("b", "a")
            """,
        ])
        defer {
            writer.signal(SIGKILL)
            _ = try? writer.wait()
        }
        try writer.waitForOutput("begun")
        for _ in 0..<40 {
            let paths = Set(try driver.changes(id, over: LayerChain([base])).changes.map(\.path.printable))
            #expect(paths.contains("p") != paths.contains("q"), "\(paths)")
            #expect(paths.contains("p/k") == paths.contains("p"), "\(paths)")
            #expect(paths.contains("q/k") == paths.contains("q"), "\(paths)")
            #expect(paths.contains("a") != paths.contains("b"), "\(paths)")
            #expect(!paths.contains("q") || paths.contains("b"), "\(paths)")
        }
    }

    // MARK: Copies

    /// A copy knows what it changed against the image, without the layers between, when these are gone too.
    @Test func copiesOverTheImage() throws {
        let base = try driver.sealedLayer { tree in
            for number in 0..<200 { try write("some text", "file\(number)", below: tree) }
        }
        let (between, id, copy) = (LayerID.random(), LayerID.random(), LayerID.random())
        try driver.prepare(between, over: LayerChain([base]), options: LayerOptions())
        try driver.change(between) { try write("more", "between", below: $0) }
        try driver.seal(between, over: LayerChain([base]), undecided: Undecided())
        let parents = LayerChain([base, between])
        try driver.prepare(id, over: parents, options: LayerOptions())
        try driver.change(id) { tree in
            try write(String(repeating: "y", count: 256 << 10), "file7", below: tree)
            try system("link") { clinux_linkat(tree, "file9", tree, "link", 0) }
            try Files.unlink("file8", below: tree)
        }
        let over = LayerChain([base])
        let made = try driver.snapshot(id, over: parents, as: copy, over: over, isFinal: false)
        #expect(try driver.changes(id, over: parents).changes == made?.changes)
        // What is done from now on is not in it.
        try driver.change(id) { try write("late", "late", below: $0) }
        try driver.seal(copy, over: over, undecided: Undecided())
        for layer in [id, between] { try driver.remove(layer) }
        try driver.emptyTrash { false }
        let expected = ["C /", "A /between", "C /file7", "D /file8", "C /file9", "A /link"]
        #expect(try driver.changes(copy, over: over).changes.map(\.line) == expected)
        let tree = try driver.open(copy)
        let parent = try driver.open(base)
        #expect(try TreeComparison.changes(parent: parent.raw, tree: tree.raw).map(\.line) == expected)
        // And a little that lies in the trees themselves.
        #expect((256 << 10..<257 << 10).contains(try Int(driver.usage(copy).bytes)))
        let origin = try Subvolume.info(tree.raw).originUUID
        #expect(try driver.lineage.transaction(of: copy, origin: origin, base: nil) != nil)
        #expect(
            try driver.lineage.transaction(of: copy, origin: Array(repeating: 0, count: 16), base: nil) == nil
        )
        // Without the record both trees are walked.
        let layers = try Files.openDirectory(home.appending("layers"))
        try Files.unlink("lineage.\(copy)", below: layers.raw)
        #expect(try driver.changes(copy, over: over).changes.map(\.line) == expected)
        try driver.remove(copy)
    }

    @Test(arguments: ["subvolume", "limit", "immutable", "parent"])
    func notCopied(_ what: String) throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let (id, copy) = (LayerID.random(), LayerID.random())
        let chain = LayerChain(what == "parent" ? [try driver.sealedLayer { _ in }] : [base])
        let size: Int64? = what == "limit" ? 64 << 20 : nil
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions(size: size))
        try driver.change(id) { tree in
            try write("two", "file", below: tree)
            if what == "subvolume" { try system("make", nil) { cbtrfs_create(tree, "nested") } }
            if what == "immutable" { try setImmutable(true, "file", below: tree) }
        }
        #expect(try driver.snapshot(id, over: chain, as: copy, over: chain, isFinal: true)?.changes == nil)
        #expect(try !driver.list().contains(copy))
        if what == "immutable" { try driver.change(id) { try setImmutable(false, "file", below: $0) } }
    }

    @Test func recordsOfCopiesGoWithThem() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let (id, copy) = (LayerID.random(), LayerID.random())
        let chain = LayerChain([base])
        try driver.prepare(id, over: chain, options: LayerOptions())
        _ = try driver.snapshot(id, over: chain, as: copy, over: chain, isFinal: true)
        try driver.emptyTrash { false }
        let all = [base.rawValue, id.rawValue, copy.rawValue]
        let layers = home.appending("layers")
        #expect(Set(try Files.list(layers).map(\.name.printable)) == Set(all + ["lineage.\(copy)"]))
        #expect(Set(try driver.list().map(\.rawValue)) == Set(all))
        for layer in [copy, id, base] { try driver.remove(layer) }
        try driver.emptyTrash { false }
        #expect(try Files.list(layers).isEmpty)
    }

    // MARK: Helpers

    private func setImmutable(_ isImmutable: Bool, _ name: String, below root: CInt) throws {
        let file = try Files.open(name, below: root, O_RDONLY)
        // FS_IOC_SETFLAGS, FS_IMMUTABLE_FL
        var flags: CLong = isImmutable ? 0x10 : 0
        try system("set flags", name) { ioctl(file.raw, 0x4008_6602, &flags) }
    }
}
