// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing
import VFSDriver

@Suite(.requires(.root))
struct VFSDriverTests {
    private let home: TemporaryDirectory
    private let driver: VFSDriver

    init() throws {
        home = try TemporaryDirectory()
        driver = try VFSDriver(home: home.appending("vfs"), options: [:])
    }

    /// A sealed layer with a file, a directory and a link.
    private func base() throws -> LayerChain {
        let id = LayerID.random()
        let entries = [
            Entries.directory("d"), Entries.file("d/x", "x"), Entries.file("f", "content"),
            LayerEntry(path: "g", kind: .hardLink(target: "f")),
        ]
        let undecided = try driver.apply(Entries(entries), to: id, over: LayerChain())
        #expect(undecided.isEmpty)
        try driver.seal(id, over: LayerChain(), undecided: undecided)
        return LayerChain([id])
    }

    private func changes(_ id: LayerID, over parents: LayerChain) throws -> [Change] {
        try driver.changes(id, over: parents).changes
    }

    @Test
    func works() throws {
        guard case .works = VFSDriver.probe(home: home.appending("not/yet/there")) else {
            Issue.record("\(VFSDriver.probe(home: home.path))")
            return
        }
        #expect(try Files.list(home.fd).map(\.name) == ["vfs"], "the probe leaves nothing behind")
    }

    @Test
    func aNewLayerHasNoChanges() throws {
        let base = try base()
        let id = LayerID.random()
        try driver.prepare(id, over: base, options: LayerOptions())
        #expect(try changes(id, over: base) == [])
        #expect(try Set(driver.list()) == Set(base.ids + [id]))
    }

    @Test
    func changesAreThoseOfAFullComparison() throws {
        let base = try base()
        let id = LayerID.random()
        try driver.prepare(id, over: base, options: LayerOptions())
        let mounted = try driver.mount(id, over: base, access: .readWrite)
        // The same size and mtime: only the ctime tells.
        let before = try #require(try Files.status("d/x", below: mounted.root.raw))
        let file = try Files.open("d/x", below: mounted.root.raw, O_WRONLY)
        try Files.writeAll([0x79], to: file.raw)
        let times = [timespec(tv_sec: 0, tv_nsec: Int(omitted)), timespec(before.mtime)]
        #expect(futimens(file.raw, times) == 0)
        try Files.unlink("f", below: mounted.root.raw)
        let expected = [
            Change(.modified, ""), Change(.modified, "d"), Change(.modified, "d/x"), Change(.deleted, "f"),
        ]
        #expect(try changes(id, over: base).filter { $0.path != "d" } == expected.filter { $0.path != "d" })
    }

    @Test
    func aLayerAdoptedAsParentKeepsItsTree() throws {
        let base = try base()
        let id = LayerID.random()
        try driver.prepare(id, over: base, options: LayerOptions())
        do {
            let mounted = try driver.mount(id, over: base, access: .readWrite)
            try Files.makeDirectory("new", below: mounted.root.raw)
        }
        try driver.seal(id, over: base, undecided: Undecided())
        let child = LayerID.random()
        try driver.prepare(child, over: base.appending(id), options: LayerOptions())
        #expect(try changes(child, over: base.appending(id)) == [])
        let mounted = try driver.mount(child, over: base.appending(id), access: .readOnly)
        #expect(try Files.status("new", below: mounted.root.raw)?.kind == .directory)
        #expect(throws: SystemError.self) { try Files.makeDirectory("other", below: mounted.root.raw) }
    }

    @Test
    func aLimitIsRefused() throws {
        let error = #expect(throws: StorageError.self) {
            try driver.prepare(.random(), over: LayerChain(), options: LayerOptions(size: 1 << 20))
        }
        #expect(error?.code == .unsupported)
        #expect(try driver.list() == [])
    }

    @Test
    func anUnknownOptionIsRefused() throws {
        let error = #expect(throws: StorageError.self) {
            try VFSDriver(home: home.appending("other"), options: ["colour": "blue"])
        }
        #expect(error?.code == .invalid)
    }

    @Test
    func aRefusedLayerLeavesNothing() throws {
        let base = try base()
        let bad = LayerEntry(path: "a", kind: .hardLink(target: "nowhere"))
        #expect(throws: StorageError.self) {
            try driver.apply(Entries([Entries.file("f", "other"), bad]), to: .random(), over: base)
        }
        #expect(try driver.list() == base.ids)
        let mounted = try driver.mount(base.ids[0], over: LayerChain(), access: .readOnly)
        #expect(try Files.contents("f", below: mounted.root.raw) == Array("content".utf8))
    }

    @Test
    func anIdIsMadeOnce() throws {
        let base = try base()
        let error = #expect(throws: StorageError.self) {
            try driver.prepare(base.ids[0], over: LayerChain(), options: LayerOptions())
        }
        #expect(error?.code == .exists)
        #expect(try driver.list() == base.ids)
    }

    @Test
    func removedLayersGoToTheTrash() throws {
        let base = try base()
        let id = LayerID.random()
        try driver.prepare(id, over: base, options: LayerOptions())
        try driver.remove(id)
        try driver.remove(id)
        #expect(try driver.list() == base.ids)
        let trash = try Files.openDirectory("vfs/trash", below: home.fd)
        #expect(try Files.list(trash.raw).count == 2)
        try driver.emptyTrash { true }
        #expect(try Files.list(trash.raw).count == 2)
        try driver.emptyTrash { false }
        #expect(try Files.list(trash.raw).isEmpty)
    }

    @Test
    func usageCountsEachFileOnce() throws {
        let base = try base()
        #expect(try driver.usage(base.ids[0]).inodes == 4)
    }

    @Test
    func aMissingLayerIsNotFound() throws {
        let error = #expect(throws: StorageError.self) {
            _ = try driver.mount(.random(), over: LayerChain(), access: .readOnly)
        }
        #expect(error?.code == .notFound)
    }

    private let omitted = 0x3FFF_FFFE
}

extension timespec {
    fileprivate init(_ time: Timestamp) {
        self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }
}

/// A layer in memory.
private final class Entries: LayerEntrySource {
    let label = "layer of the test"
    private var entries: [LayerEntry]
    private var content: [UInt8] = []

    init(_ entries: [LayerEntry]) { self.entries = entries.reversed() }

    static func directory(_ path: TreePath) -> LayerEntry {
        LayerEntry(path: path, kind: .directory, mode: 0o755)
    }

    static func file(_ path: TreePath, _ text: String) -> LayerEntry {
        // The content is what the attribute says, so that an entry is all there is of a layer.
        let attribute = ExtendedAttribute(name: Array("user.content".utf8), value: Array(text.utf8))
        return LayerEntry(
            path: path,
            kind: .regular(size: Int64(text.utf8.count)),
            mode: 0o644,
            xattrs: [attribute]
        )
    }

    func next() -> LayerEntry? {
        guard let entry = entries.popLast() else { return nil }
        content = entry.xattrs.first?.value ?? []
        return entry
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try content.withUnsafeBytes { try body($0) }
    }

    func writeContent(to file: CInt) throws { try Files.writeAll(content, to: file) }
}
