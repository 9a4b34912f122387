// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Overlay
import Overlay2Driver
import Storage
import SystemPackage
import TestGates
import Testing

/// What is overlay2's own; what all drivers have in common is the conformance suite's.
@Suite(.requires(.root, .overlay))
struct Overlay2DriverTests {
    private let scratch: TemporaryDirectory
    private let home: FilePath
    private let driver: Overlay2Driver

    init() throws {
        scratch = try TemporaryDirectory()
        home = scratch.appending("overlay2")
        driver = try Overlay2Driver(home: home, options: [:])
    }

    private func write(_ text: String, to name: String, below root: CInt) throws {
        let file = try Files.open(name, below: root, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try Files.writeAll(Array(text.utf8), to: file.raw)
    }

    private func names(_ directory: String) throws -> [String] {
        let directory = try Files.openDirectory(home.appending(directory))
        return try Files.sortedList(directory.raw).map { String(decoding: $0.name.bytes, as: UTF8.self) }
    }

    @Test func probeMountsAndCleansUp() throws {
        guard case .works = Overlay2Driver.probe(home: scratch.appending("not/yet/there")) else {
            Issue.record("the probe says that overlay2 does not work")
            return
        }
        #expect(try Files.list(scratch.fd).map(\.name) == ["overlay2"])
    }

    /// The kernel takes no upper directory on an overlay.
    @Test func probeSaysWhyNot() throws {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
        let home = FilePath("/proc/self/fd/\(mounted.root.raw)/store")
        guard case .unavailable(let reason, let remedy) = Overlay2Driver.probe(home: home) else {
            Issue.record("the probe says that overlay2 works on an overlay")
            return
        }
        #expect(!reason.isEmpty && remedy != nil)
        #expect(try Files.list(mounted.root.raw).isEmpty)
    }

    @Test(arguments: [["overlay2.mount": "carrier pigeon"], ["vfs.mount": "names"]])
    func refusesUnknownOptions(_ options: [String: String]) {
        #expect { _ = try Overlay2Driver(home: home, options: options) } throws: {
            ($0 as? StorageError)?.code == .invalid
        }
    }

    @Test func refusesALimitOfSize() throws {
        let id = LayerID.random()
        #expect { try driver.prepare(id, over: LayerChain(), options: LayerOptions(size: 1)) } throws: {
            ($0 as? StorageError)?.code == .unsupported
        }
        #expect(try driver.list().isEmpty)
    }

    @Test func prepareUndoesEverything() throws {
        let id = LayerID.random()
        let missing = LayerChain([.random()])
        #expect(throws: (any Error).self) { try driver.prepare(id, over: missing, options: LayerOptions()) }
        for directory in ["layers", "work", "staging", "trash"] { #expect(try names(directory).isEmpty) }
    }

    @Test func sealedLayersAreNotMountedForWriting() throws {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        #expect { try driver.prepare(id, over: LayerChain(), options: LayerOptions()) } throws: {
            ($0 as? StorageError)?.code == .exists
        }
        let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
        try write("text", to: "file", below: mounted.root.raw)
        try driver.seal(id, over: LayerChain(), undecided: Undecided())
        try driver.seal(id, over: LayerChain(), undecided: Undecided())
        #expect { _ = try driver.mount(id, over: LayerChain(), access: .readWrite) } throws: {
            ($0 as? StorageError)?.code == .invalid
        }
        let again = try driver.mount(id, over: LayerChain(), access: .readOnly)
        #expect(try Files.contents("file", below: again.root.raw) == Array("text".utf8))
    }

    /// An id that was removed may come again before the trash is emptied.
    @Test func trashTakesTheSameNameTwice() throws {
        let id = LayerID.random()
        for text in ["one", "two", "three"] {
            try driver.prepare(id, over: LayerChain(), options: LayerOptions())
            let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
            try write(text, to: "file", below: mounted.root.raw)
            try driver.remove(id)
            try driver.remove(id)
        }
        #expect(try driver.list().isEmpty)
        #expect(try names("trash").count >= 3)
        #expect(try names("work").isEmpty)
        try driver.emptyTrash { true }
        #expect(try names("trash").count >= 3)
        try driver.emptyTrash { false }
        #expect(try names("trash").isEmpty)
    }

    /// A container started in a user namespace makes the mount itself, from names below a clone of the home.
    @Test func idMappedMountNamesAreRelative() throws {
        let base = LayerID.random()
        let id = LayerID.random()
        try driver.prepare(base, over: LayerChain(), options: LayerOptions())
        try driver.seal(base, over: LayerChain(), undecided: Undecided())
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        guard
            case .fileSystem(let type, let directory, let data) = try driver.idMappedMount(
                id,
                over: LayerChain([base])
            )
        else {
            Issue.record("no file system to mount")
            return
        }
        #expect(type == "overlay")
        #expect(directory == "layers")
        #expect(data == "userxattr,index=off,lowerdir=\(base),upperdir=\(id),workdir=../work/\(id)")
    }

    @Test func statusTellsHowItMounts() throws {
        let status = try driver.status()
        #expect(status.contains { $0.name == "Mount method" && $0.value == OverlayMount.method.rawValue })
        #expect(!status.contains { $0.value.isEmpty })
        #expect(try names("trash").isEmpty)
    }
}
