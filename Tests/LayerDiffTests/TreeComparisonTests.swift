// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing

/// The walk of two trees, and copies, which it must find equal.
@Suite(.requires(.root, .deviceNodes))
struct TreeComparisonTests {
    private static let items: [TreeItem] = [
        .directory("d"), .file("d/f", "content", [ExtendedAttribute("user.a", "b")]), .file("d/g", "content"),
        .directory("d/e"), .file("d/e/h"), .file("a", "linked"), .link("b", to: "a"), .link("c", to: "a"),
        .symlink("s", to: "d"), .entry("n", .characterDevice(DeviceNumber(major: 1, minor: 3))),
        .entry("p", .fifo),
        .entry("k", .socket), .entry("t", .symlink(target: [0x64]), [ExtendedAttribute("trusted.a", "b")]),
        .file("d-", "sorts between d and d/f"),
    ]

    private let parent: OneTree
    private let tree: OneTree

    init() throws {
        parent = try OneTree(Self.items)
        tree = try OneTree()
        try TreeCopier.copy(from: parent.fd.raw, to: tree.fd.raw)
    }

    private func changes() throws -> [String] {
        try TreeComparison.changes(parent: parent.fd.raw, tree: tree.fd.raw).map(\.description)
    }

    /// Changes a copy by a layer, whose own directories are left out: they would show what was not meant.
    private func expect(_ items: [TreeItem], _ expected: [String]) throws {
        try tree.apply(items)
        let found = try changes()
        #expect(found == expected)
    }

    @Test
    func aCopyIsEqual() throws {
        #expect(try changes() == [])
        #expect(try treeUsage(of: parent.fd.raw).inodes == treeUsage(of: tree.fd.raw).inodes)
        #expect(try treeUsage(of: tree.fd.raw).inodes == 13)
    }

    @Test
    func sparseFilesStaySparse() throws {
        let file = try Files.open("sparse", below: parent.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
        #expect(pwrite(file.raw, "x", 1, 5 << 20) == 1)
        #expect(ftruncate(file.raw, 9 << 20) == 0)
        let copy = try OneTree()
        try TreeCopier.copy(from: parent.fd.raw, to: copy.fd.raw)
        let status = try #require(try copy.status("sparse"))
        #expect(status.size == 9 << 20 && status.blocks < 1024)
        #expect(try TreeComparison.changes(parent: parent.fd.raw, tree: copy.fd.raw) == [])
    }

    private static let above = ["modified /", "modified /d"]

    @Test(arguments: [
        TreeItem.file("d/f", "content"), .file("d/f", "cOntent", [ExtendedAttribute("user.a", "b")]),
        .file("d/f", "longer content", [ExtendedAttribute("user.a", "b")]),
        .file("d/f", "content", [ExtendedAttribute("user.a", "c")]),
        .file("d/f", "content", mode: 0o4644, [ExtendedAttribute("user.a", "b")]),
        .file("d/f", "content", owner: (1, 0), [ExtendedAttribute("user.a", "b")]),
        .file("d/f", "content", owner: (0, 1), [ExtendedAttribute("user.a", "b")]),
        .entry("d/f", .regular(size: 0), time: 1000, [ExtendedAttribute("user.a", "b")]),
        .symlink("d/f", to: "x"),
        .entry("d/f", .fifo),
    ])
    func everyPropertyOfAFileCounts(_ item: TreeItem) throws {
        try tree.apply([.directory("d"), item])
        #expect(try changes() == Self.above + ["modified /d/f"])
    }

    @Test
    func aNanosecondCounts() throws {
        try system("utimensat") { clinux_utimensat(tree.fd.raw, "a", 1000, 6, 0) }
        #expect(try changes() == ["modified /", "modified /a", "modified /b", "modified /c"])
    }

    @Test
    func theSameEntryAgainIsNoChange() throws {
        try expect(
            [
                .directory("d"), .file("d/f", "content", [ExtendedAttribute("user.a", "b")]),
                .symlink("s", to: "d"),
            ],
            []
        )
    }

    @Test
    func linksAndDevices() throws {
        try expect(
            [
                .symlink("s", to: "e"), .entry("n", .characterDevice(DeviceNumber(major: 1, minor: 5))),
                .entry("t", .symlink(target: [0x64])),
            ],
            ["modified /", "modified /n", "modified /s", "modified /t"]
        )
    }

    @Test
    func addedAndDeleted() throws {
        try expect(
            [.file("new/x"), .entry("d/e", .whiteout), .entry("d-", .whiteout)],
            ["modified /", "modified /d", "deleted /d-", "deleted /d/e", "added /new", "added /new/x"]
        )
    }

    @Test
    func whatLayInADirectoryThatBecameAFileIsNotListed() throws {
        try expect([.file("d", "file")], ["modified /", "modified /d"])
    }

    @Test
    func whatLiesInADirectoryThatWasAFileIsAdded() throws {
        try expect([.directory("a"), .file("a/x")], ["modified /", "modified /a", "added /a/x"])
    }

    @Test
    func aDirectoryMadeAnew() throws {
        try expect(
            [.directory("d"), .entry("d", .opaque), .file("d/g", "content"), .file("d/i")],
            ["modified /", "modified /d", "deleted /d/e", "deleted /d/f", "added /d/i"]
        )
    }

    @Test
    func aNewNameListsAllNames() throws {
        try expect(
            [.link("z", to: "a")],
            ["modified /", "modified /a", "modified /b", "modified /c", "added /z"]
        )
    }

    @Test
    func aNameRemovedListsNoOther() throws {
        try expect([.entry("b", .whiteout)], ["modified /", "deleted /b"])
    }

    @Test
    func aNameSplitOffListsTheGroup() throws {
        try expect([.file("b", "linked")], ["modified /", "modified /a", "modified /b", "modified /c"])
    }

    @Test
    func aNameOfOtherContentListsNoOther() throws {
        try expect([.file("b", "other")], ["modified /", "modified /b"])
    }

    @Test
    func filesThatBecameOneAreListed() throws {
        try tree.apply([.directory("d"), .file("d/g", "content", [ExtendedAttribute("user.a", "b")])])
        try parent.apply([.directory("d"), .file("d/g", "content", [ExtendedAttribute("user.a", "b")])])
        #expect(try changes() == [])
        try tree.apply([.directory("d"), .link("d/g", to: "d/f")])
        #expect(try changes() == Self.above + ["modified /d/f", "modified /d/g"])
    }

    @Test
    func againstNothing() throws {
        let all = try TreeComparison.changes(parent: nil, tree: parent.fd.raw)
        #expect(all.count == 15 && all.dropFirst().allSatisfy { $0.kind == .added })
        let empty = try OneTree()
        try TreeCopier.makeEmptyRoot(empty.fd.raw)
        #expect(try TreeComparison.changes(parent: nil, tree: empty.fd.raw) == [])
    }

    @Test
    func aRecordTellsWhatWasTouched() throws {
        usleep(150_000)
        let taken = try TreeRecord.take(of: tree.fd.raw)
        let record = try #require(TreeRecord(bytes: taken.bytes))
        let status = try #require(try tree.status("d/f"))
        #expect(record.isUntouched("d/f", status))
        // Same size and time again: only the change time tells.
        let file = try Files.open("d/f", below: tree.fd.raw, O_WRONLY)
        #expect(pwrite(file.raw, "C", 1, 0) == 1)
        try system("futimens") { clinux_utimensat(file.raw, "", 1000, 5, 0) }
        let found = try TreeComparison.changes(parent: parent.fd.raw, tree: tree.fd.raw, since: record)
        #expect(found.map(\.description) == Self.above + ["modified /d/f"])
        #expect(TreeRecord(bytes: Array(taken.bytes.dropLast())) == nil)
        #expect(TreeRecord(bytes: []) == nil)
    }

    @Test
    func whatWasJustWrittenIsNotTrusted() throws {
        let file = try Files.open("d/f", below: tree.fd.raw, O_WRONLY)
        // On a busy machine a while may pass between the two, and then it may be trusted.
        let isDistrusted = try eventually {
            #expect(pwrite(file.raw, "c", 1, 0) == 1)
            let record = try TreeRecord.take(of: tree.fd.raw)
            return try !record.isUntouched("d/f", #require(try tree.status("d/f")))
        }
        #expect(isDistrusted)
    }
}

extension TreeItem: CustomTestStringConvertible {
    var testDescription: String { "\(entry.path) \(entry.kind)" }
}
