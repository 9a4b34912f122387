// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

/// What one layer becomes on disk.
@Suite(.requires(.root, .deviceNodes))
struct TreeApplierTests {
    /// cap_net_raw=ep, version 2.
    private static let capability = ExtendedAttribute(
        name: Array("security.capability".utf8),
        value: [1, 0, 0, 2, 0, 0x20, 0, 0] + [UInt8](repeating: 0, count: 12)
    )

    @Test
    func metadataOfFiles() throws {
        let tree = try OneTree([
            .file("plain", "text"), .file("odd", "x", mode: 0o6711, owner: (70_000, 4_000_000_000)),
            .file(
                "capable",
                "x",
                mode: 0o755,
                owner: (5, 6),
                [Self.capability, ExtendedAttribute("user.a", "b")]
            ),
            .file("read-only", "x", mode: 0o400, [ExtendedAttribute("user.a", "b")]),
            .entry("early", .regular(size: 0), time: -86_400 * 365 * 60),
        ])
        let odd = try #require(try tree.status("odd"))
        #expect(odd.mode == 0o6711 && odd.uid == 70_000 && odd.gid == 4_000_000_000)
        #expect(odd.mtime == Timestamp(seconds: 1000, nanoseconds: 5))
        #expect(try tree.contents("plain") == "text")
        let attributes = try ExtendedAttributes.read("capable", below: tree.fd.raw)
        #expect(attributes == [Self.capability, ExtendedAttribute("user.a", "b")])
        #expect(try tree.status("read-only")?.mode == 0o400)
        #expect(try tree.status("early")?.mtime == Timestamp(seconds: -86_400 * 365 * 60, nanoseconds: 5))
    }

    @Test
    func everyKindOfFile() throws {
        let number = DeviceNumber(major: 8, minor: 300)
        let tree = try OneTree([
            .entry("c", .characterDevice(DeviceNumber(major: 1, minor: 3)), mode: 0o666),
            .entry(
                "b",
                .blockDevice(number),
                mode: 0o4660,
                owner: (1, 2),
                [ExtendedAttribute("trusted.a", "b")]
            ),
            .entry("p", .fifo, mode: 0o600), .entry("s", .socket, mode: 0o777),
            .entry(
                "l",
                .symlink(target: [0xFF, 0x2F]),
                owner: (3, 4),
                [ExtendedAttribute("trusted.a", "b")]
            ),
        ])
        #expect(try tree.status("c")?.rdev == DeviceNumber(major: 1, minor: 3))
        let block = try #require(try tree.status("b"))
        #expect(block.kind == .blockDevice && block.rdev == number && block.mode == 0o4660 && block.uid == 1)
        #expect(try tree.status("p")?.kind == .fifo)
        #expect(try tree.status("s")?.kind == .socket)
        #expect(try Files.readLink("l", below: tree.fd.raw) == [0xFF, 0x2F])
        #expect(try tree.status("l")?.uid == 3)
        for name in ["b", "l"] {
            #expect(
                try ExtendedAttributes.read(name, below: tree.fd.raw) == [ExtendedAttribute("trusted.a", "b")]
            )
        }
    }

    @Test
    func directoriesKeepTheirTimesModesAndGroups() throws {
        let tree = try OneTree([
            .entry("d", .directory, mode: 0o2555, owner: (7, 8), time: 77), .file("d/f"), .directory("d/sub"),
            .file("d/sub/g"), .file("d/later"),
        ])
        let status = try #require(try tree.status("d"))
        #expect(status.mode == 0o2555 && status.gid == 8 && status.mtime.seconds == 77)
        let sub = try #require(try tree.status("d/sub"))
        #expect(sub.mode == 0o755 && sub.gid == 0)
        #expect(try tree.status("d/f")?.gid == 0)
        #expect(try tree.status("d/sub/g")?.gid == 0)
    }

    @Test
    func defaultACLsAreNotInherited() throws {
        // user::rwx, user:5:rwx, group::r-x, mask::rwx, other::---
        var acl: [UInt8] = [2, 0, 0, 0]
        for (tag, permissions, id) in [
            (1, 7, UInt32.max), (2, 7, 5), (4, 5, UInt32.max), (0x10, 7, UInt32.max), (0x20, 0, UInt32.max),
        ] as [(UInt8, UInt8, UInt32)] {
            acl += [tag, 0, permissions, 0]
            acl += withUnsafeBytes(of: id.littleEndian) { Array($0) }
        }
        let attribute = ExtendedAttribute(name: Array("system.posix_acl_default".utf8), value: acl)
        let tree = try OneTree([
            .entry("d", .directory, mode: 0o755, [attribute]), .file("d/f"), .directory("d/e"),
        ])
        #expect(try ExtendedAttributes.read("d", below: tree.fd.raw) == [attribute])
        // Applying over the tree, as whole trees do, changes nothing of that.
        try tree.apply([.file("d/g"), .file("d/e/h")])
        #expect(try ExtendedAttributes.read("d", below: tree.fd.raw) == [attribute])
        for name in ["f", "g", "e", "e/h"] {
            let parent = try Files.openDirectory("d", below: tree.fd.raw)
            #expect(try ExtendedAttributes.read(name, below: parent.raw) == [])
        }
        #expect(try tree.status("d/g")?.mode == 0o644)
    }

    @Test
    func aDirectoryEntryReplacesAllMetadata() throws {
        let tree = try OneTree([
            .entry("d", .directory, mode: 0o700, owner: (1, 1), [ExtendedAttribute("user.a", "b")])
        ])
        try tree.apply([.entry("d", .directory, mode: 0o711, [ExtendedAttribute("user.c", "d")])])
        let status = try #require(try tree.status("d"))
        #expect(status.mode == 0o711 && status.uid == 0)
        #expect(try ExtendedAttributes.read("d", below: tree.fd.raw) == [ExtendedAttribute("user.c", "d")])
    }

    @Test
    func impliedDirectoriesAreUndecidedInLayers() throws {
        let both = try BothForms()
        let form = both.form
        var applier = TreeApplier(root: both.home.fd, form: form, label: "test")
        let items: [TreeItem] = [
            .file("a/b/c"), .directory("a/b"), .link("l", to: "lower"), .file("d/e"), .entry("d", .whiteout),
        ]
        let undecided = try applier.apply(MemoryLayer(items))
        #expect(undecided.impliedDirectories == ["", "a"])
        #expect(undecided.hardLinks.map(\.link) == ["l"] && undecided.hardLinks.map(\.target) == ["lower"])
    }

    @Test
    func pathsLongerThanTheKernelTakes() throws {
        let name = String(repeating: "n", count: 250)
        let deep = (0..<40).map { _ in name }.joined(separator: "/")
        let tree = try OneTree([
            .file(deep + "/file", "deep"), .file("a"), .file(deep + "/other"), .link("l", to: deep + "/file"),
        ])
        let parent = try Files.openParent(of: TreePath(bytes: Array((deep + "/file").utf8)), in: tree.fd.raw)
        #expect(try Files.contents("file", below: parent.raw) == Array("deep".utf8))
        #expect(try tree.status("l")?.links == 2)
        // Deeper than the descriptors that are held.
        let levels = (0..<600).map { _ in "d" }.joined(separator: "/")
        try tree.apply([.file(levels + "/x"), .file("d/y"), .file(levels + "/z")])
        #expect(try tree.status(levels + "/z")?.kind == .regular)
        let copy = try OneTree()
        try TreeCopier.copy(from: tree.fd.raw, to: copy.fd.raw)
        #expect(try TreeComparison.changes(parent: tree.fd.raw, tree: copy.fd.raw) == [])
    }

    @Test
    func namesAreBytes() throws {
        let longest = [UInt8](repeating: 0xC3, count: 255)
        var item = TreeItem.file("x", "bytes")
        item.entry.path = TreePath(bytes: longest)
        let tree = try OneTree([item])
        #expect(try Files.contents(TreePath(bytes: longest), below: tree.fd.raw) == Array("bytes".utf8))
    }

    private static let refused: [(name: String, item: TreeItem)] = [
        ("parent", .file("../escape")), ("parent within", .file("a/../../escape")), ("dot", .file("./a")),
        ("empty component", .file("a//b")), ("absolute", .file("/etc/escape")), ("zero", .file("a\0b")),
        ("absolute name", .file("/escape")), ("trailing slash", .file("a/b/")),
        ("zero in a symlink", .symlink("a", to: "b\0c")), ("empty symlink", .symlink("a", to: "")),
        ("long name", .file(String(repeating: "n", count: 256))),
        ("no owner", .file("a", owner: (UInt32.max, 0))),
        ("no group", .file("a", owner: (0, UInt32.max))), ("file as root", .file("")),
        ("whiteout of root", .entry("", .whiteout)),
        ("huge device", .entry("a", .blockDevice(DeviceNumber(major: 4096, minor: 0)))),
        ("huge minor", .entry("a", .characterDevice(DeviceNumber(major: 1, minor: 1 << 20)))),
        ("link to outside", .link("a", to: "../b")), ("link to root", .link("a", to: "")),
        ("link to itself", .link("a", to: "a")), ("link to missing", .link("a", to: "b")),
        ("too deep", .file((0..<5000).map { _ in "d" }.joined(separator: "/"))),
    ]

    @Test(arguments: refused.indices)
    func refusals(_ index: Int) throws {
        let (name, item) = Self.refused[index]
        let error = #expect(throws: StorageError.self, "\(name)") { try OneTree([item]) }
        #expect(error?.code == .invalid, "\(name): \(String(describing: error))")
        #expect(error?.message.contains("test") == true, "the layer is named")
    }

    /// Symlinks of every kind, each with something written through it afterwards.
    @Test(arguments: ["/OUT", "../../OUT", "chain", ".", "..", "loop", "missing", "/proc/self/cwd", "/"])
    func nothingIsWrittenThroughSymlinks(_ target: String) throws {
        let outside = try TemporaryDirectory()
        let text = target.split(separator: "OUT", omittingEmptySubsequences: false).joined(
            separator: outside.path.string
        )
        let tree = try OneTree([
            .symlink("chain", to: outside.path.string), .symlink("loop", to: "loop"), .symlink("s", to: text),
            .file("s/file", "escaped"), .symlink("t", to: text), .file("t", "over the symlink"),
            .symlink("u", to: text), .directory("u"), .symlink("v", to: text), .entry("v/w", .whiteout),
            .symlink("w", to: text), .entry("w", .opaque),
        ])
        #expect(try Files.list(outside.fd).isEmpty)
        for name in ["s", "u", "v", "w"] { #expect(try tree.status(name)?.kind == .directory) }
        #expect(try tree.contents("s/file") == "escaped")
        #expect(try tree.contents("t") == "over the symlink")
    }

    @Test
    func hardLinks() throws {
        let tree = try OneTree([
            .file("a", "first"), .link("b", to: "a"), .file("a", "second"), .link("c", to: "d/e"),
            .symlink("l", to: "a"),
            .link("m", to: "l"), .file("d/e", "late"), .link("b2", to: "b"),
        ])
        #expect(try tree.contents("b") == "first")
        #expect(try tree.contents("a") == "second")
        #expect(try tree.contents("c") == "late")
        #expect(try tree.status("m")?.kind == .symlink)
        #expect(try tree.status("b")?.inode == tree.status("b2")?.inode)
        #expect(try tree.status("d")?.mtime == Timestamp(seconds: 0))
    }

    @Test
    func aFullDiskIsSaidWithLayerAndEntry() throws {
        let mount = try DetachedMount.make("tmpfs", [.string("size", "64k")])
        let items = (0..<40).map { TreeItem.file("file\($0)", String(repeating: "x", count: 4096)) }
        let error = #expect(throws: StorageError.self) {
            var applier = TreeApplier(root: mount.raw, form: PlainForm(), label: "layer 12ab")
            _ = try applier.apply(MemoryLayer(items))
        }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        #expect(error?.message.contains("layer 12ab, entry /file") == true)
    }

    @Test
    func theUmaskIsAsBefore() throws {
        // Else the umask would be that of all tests that run meanwhile.
        try system("unshare") { clinux_unshare_fs() }
        let before = umask(0o027)
        defer { _ = umask(before) }
        let tree = try OneTree([
            .file("f", mode: 0o666), .directory("d", mode: 0o777), .entry("p", .fifo, mode: 0o622),
        ])
        #expect(try tree.status("f")?.mode == 0o666)
        #expect(try tree.status("d")?.mode == 0o777)
        #expect(try tree.status("p")?.mode == 0o622)
        #expect(umask(0o027) == 0o027)
    }

    /// Each directory is read once, however often a layer hides it.
    @Test
    func hidingAgainAndAgainIsCheap() throws {
        let items = (0..<2000).flatMap {
            [TreeItem.file("d/\($0)"), .entry("d", .opaque), .entry("d", .whiteout)]
        }
        func seconds() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec
        }
        let start = seconds()
        let tree = try OneTree([.file("d/lower")])
        try tree.apply(items)
        #expect(try tree.status("d/lower") == nil && tree.status("d/7") != nil)
        #expect(seconds() - start < 30)
    }
}
