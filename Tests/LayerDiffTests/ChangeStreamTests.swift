// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import Synchronization
import TestGates
import Testing

/// Changes as a layer: applied over the parent they give the tree again.
@Suite(.requires(.root, .overlay, .deviceNodes))
struct ChangeStreamTests {
    private func stream(
        _ parent: CInt?,
        _ tree: OneTree,
        mayChange: Bool = false
    ) throws -> ChangeStream {
        let changes = try TreeComparison.changes(parent: parent, tree: tree.fd.raw)
        let shared = SharedFD(OwnedFD(adopting: dup(tree.fd.raw)))
        return ChangeStream(
            ChangeSet(changes: changes, tree: shared, form: PlainForm()),
            label: "changes of the test",
            mayChange: mayChange
        )
    }

    private func copy(of tree: OneTree) throws -> OneTree {
        let copy = try OneTree()
        try TreeCopier.copy(from: tree.fd.raw, to: copy.fd.raw)
        return copy
    }

    private static let base: [TreeItem] = [
        .directory("d"), .file("d/x", "x"), .file("d/y", "y"), .file("a", "linked"), .link("b", to: "a"),
        .directory("e"),
        .file("e/z"), .symlink("s", to: "a"),
    ]

    private static let layers: [[TreeItem]] = [
        [], [.entry("d", .whiteout)], [.file("d", "file")], [.directory("a"), .file("a/x")],
        [.link("c", to: "a")],
        [.file("b", "linked")], [.entry("d", .opaque), .file("d/new")], [.entry("a", .whiteout)],
        [
            .file("l", "1"), .link("k", to: "l"), .link("z/m", to: "l"), .symlink("t", to: "l"),
            .link("u", to: "t"),
        ],
        [.entry("n", .blockDevice(DeviceNumber(major: 7, minor: 0)), owner: (3, 4)), .entry("p", .socket)],
        [.file("d/x", "same size")], [.directory("", mode: 0o700, time: 5)],
        [.file("big", String(repeating: "b", count: 300_000))],
    ]

    @Test(arguments: layers.indices)
    func appliedAgainTheyGiveTheTree(_ index: Int) throws {
        let parent = try OneTree(Self.base)
        let tree = try copy(of: parent)
        try tree.apply(Self.layers[index])
        try expectSame(parent, tree)
    }

    @Test(arguments: 100..<130)
    func appliedAgainRandomChangesGiveTheTree(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let parent = try OneTree()
        for _ in 0..<2 { try? parent.apply(TreeItem.randomLayer(withLinks: true, using: &generator)) }
        let tree = try copy(of: parent)
        // A refused layer leaves a tree too, only not the one that it meant.
        try? tree.apply(TreeItem.randomLayer(withLinks: true, using: &generator))
        try expectSame(parent, tree)
    }

    private func expectSame(_ parent: OneTree, _ tree: OneTree) throws {
        let again = try copy(of: parent)
        var applier = TreeApplier(root: again.fd.raw, form: PlainForm(), label: "whole")
        _ = try applier.apply(try stream(parent.fd.raw, tree))
        #expect(try TreeComparison.changes(parent: tree.fd.raw, tree: again.fd.raw) == [])

        let both = try BothForms()
        var below = TreeApplier(root: try both.makeLayer("below"), form: both.form, label: "below")
        _ = try below.apply(try stream(nil, parent))
        var layer = TreeApplier(root: try both.makeLayer("layer"), form: both.form, label: "layer")
        let undecided = try layer.apply(try stream(parent.fd.raw, tree))
        #expect(undecided.hardLinks.isEmpty)
        let merged = try both.merged()
        // An empty stream says nothing of the root, which would take the parent's metadata at seal.
        guard undecided.impliedDirectories.isEmpty else { return }
        #expect(try TreeComparison.changes(parent: tree.fd.raw, tree: merged.raw) == [])
    }

    @Test
    func linksComeAfterTheirContent() throws {
        let tree = try OneTree([.file("m", "content"), .link("z", to: "m"), .link("a", to: "m")])
        let stream = try stream(nil, tree)
        var kinds: [String] = []
        while let entry = try stream.next() {
            if case .regular(let size) = entry.kind {
                var count = 0
                try stream.readContent { count += $0.count }
                #expect(count == Int(size) && size == 7)
            }
            kinds.append("\(entry.path) \(entry.kind)")
        }
        #expect(
            kinds == [
                "/ directory", "/a regular(size: 7)", "/m hardLink(target: /a)", "/z hardLink(target: /a)",
            ]
        )
    }

    @Test(arguments: [".wh.x", ".wh..wh..opq", "d/.wh.y"])
    func namesOfWhiteoutsAreRefused(_ name: String) throws {
        let tree = try OneTree([.file(name)])
        let error = try refusal(of: tree)
        #expect(error?.code == .invalid)
        #expect(error?.message.contains("/" + name) == true)
    }

    @Test
    func devicesThatMeanWhiteoutsAreRefused() throws {
        let tree = try OneTree()
        try system("mknod") { clinux_mknodat(tree.fd.raw, "gone", FileKind.characterDevice.formatBits, 0, 0) }
        let error = try refusal(of: tree)
        #expect(error?.code == .invalid && error?.message.contains("/gone") == true)
    }

    private static let busy: [TreeItem] = [
        .file("a", "linked"), .link("b", to: "a"), .directory("d"), .file("d/x"), .file("e", "twelve bytes"),
        .directory("f"), .file("g"),
    ]

    /// What is taken away once it is known that it is there.
    private func takeAway(from tree: OneTree) throws {
        for name in ["a", "g", "f"] { try Files.removeTree(TreePath(cleaning: name), below: tree.fd.raw) }
        try Files.removeTree("d", below: tree.fd.raw)
        try tree.apply([.symlink("d", to: "e"), .file("f", "a file now")])
        let file = try Files.open("e", below: tree.fd.raw, O_WRONLY)
        #expect(ftruncate(file.raw, 6) == 0)
    }

    @Test
    func whatIsGoneMeanwhileIsLeftOut() throws {
        let tree = try OneTree(Self.busy)
        let stream = try stream(nil, tree, mayChange: true)
        try takeAway(from: tree)
        var found: [String] = []
        while let entry = try stream.next() {
            var content: [UInt8] = []
            try stream.readContent { content += $0 }
            found.append("\(entry.path) \(entry.kind) \(String(decoding: content, as: UTF8.self))")
        }
        #expect(
            found == [
                "/ directory ", "/b regular(size: 6) linked", "/d symlink(target: [101]) ",
                "/e regular(size: 6) twelve", "/f regular(size: 10) a file now",
            ]
        )
    }

    @Test
    func aFileThatLosesContentIsFilledWithZeros() throws {
        let tree = try OneTree([.file("e", "twelve bytes")])
        for mayChange in [true, false] {
            let stream = try stream(nil, tree, mayChange: mayChange)
            while let entry = try stream.next(), entry.path.isRoot {}
            let file = try Files.open("e", below: tree.fd.raw, O_WRONLY)
            let size = try Files.status(of: file.raw).size
            #expect(ftruncate(file.raw, Int(size / 2)) == 0)
            var content: [UInt8] = []
            if mayChange {
                try stream.readContent { content += $0 }
                #expect(content == Array("twelve".utf8) + [UInt8](repeating: 0, count: 6))
            } else {
                #expect(throws: StorageError.self) { try stream.readContent { content += $0 } }
            }
        }
    }

    @Test
    func whatIsGoneFromAStillTreeIsAnError() throws {
        let tree = try OneTree(Self.busy)
        let stream = try stream(nil, tree)
        try takeAway(from: tree)
        let error = #expect(throws: StorageError.self) { while try stream.next() != nil {} }
        #expect(error?.message.contains("/a: it was changed while it was read") == true)
    }

    /// While another thread makes, moves and removes what is in it.
    @Test
    func aTreeThatIsBusyIsRead() throws {
        let parent = try OneTree(Self.busy)
        let tree = try copy(of: parent)
        let isOver = Atomic(false)
        let directory = tree.fd.raw
        let thread = try Thread {
            var number = 0
            while !isOver.load(ordering: .relaxed) {
                number += 1
                let (old, new) = ("n\(number % 7)", "m\(number % 5)")
                try? Files.makeDirectory(old, below: directory)
                try? Files.makeDirectory("\(old)/in", below: directory)
                _ = try? Files.open("\(old)/in/file", below: directory, O_WRONLY | O_CREAT, mode: 0o600)
                try? Files.rename(old, below: directory, to: new, below: directory)
                try? Files.removeTree(TreePath(cleaning: new), below: directory)
                try? Files.removeTree("d", below: directory)
                try? Files.makeDirectory("d", below: directory)
            }
        }
        defer {
            isOver.store(true, ordering: .relaxed)
            thread.join()
        }
        for round in 0..<300 {
            let stream = try stream(round % 2 == 0 ? nil : parent.fd.raw, tree, mayChange: true)
            while try stream.next() != nil { try stream.readContent { _ in } }
        }
    }

    private func refusal(of tree: OneTree) throws -> StorageError? {
        let stream = try stream(nil, tree)
        return #expect(throws: StorageError.self) { while try stream.next() != nil {} }
    }

    @Test
    func holesStayHolesAndReadAsZeros() throws {
        let tree = try OneTree()
        let file = try Files.open("sparse", below: tree.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
        #expect(pwrite(file.raw, "x", 1, 3 << 20) == 1)
        #expect(ftruncate(file.raw, 4 << 20) == 0)
        let stream = try stream(nil, tree)
        while let entry = try stream.next() {
            guard case .regular(let size) = entry.kind else { continue }
            #expect(size == 4 << 20)
            let target = try Files.open("../copy", below: tree.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
            try stream.writeContent(to: target.raw)
            let status = try Files.status(of: target.raw)
            #expect(status.size == size && status.blocks < 1024)
            var (count, sum) = (0, 0)
            try stream.readContent {
                count += $0.count
                sum += $0.reduce(0) { $0 + Int($1) }
            }
            #expect(count == Int(size) && sum == 0x78)
        }
    }

    @Test(arguments: [0, 1 << 20, 2 << 20, (2 << 20) - 1])
    func zerosThatPassATarBecomeHolesOfTheSameSize(_ position: Int) throws {
        let tree = try OneTree()
        let file = try Files.open("f", below: tree.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
        #expect(ftruncate(file.raw, 2 << 20) == 0)
        #expect(pwrite(file.raw, "x", 1, position) == 1)
        let tee = TarTee(try stream(nil, tree), sink: HashingSink())
        while let entry = try tee.next() {
            guard case .regular = entry.kind else { continue }
            let target = try Files.open("../copy", below: tree.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
            try tee.writeContent(to: target.raw)
            #expect(try Files.status(of: target.raw).blocks < 2048)
        }
        let copy = try Files.contents("../copy", below: tree.fd.raw)
        #expect(try copy == Files.contents("f", below: tree.fd.raw))
    }

    @Test
    func aFileThatGrowsIsCutAndOneThatShrinksIsAnError() throws {
        let tree = try OneTree([.file("f", String(repeating: "f", count: 200_000))])
        let file = try Files.open("f", below: tree.fd.raw, O_RDWR)
        let stream = try stream(nil, tree)
        while let entry = try stream.next(), entry.path != "f" {}
        #expect(ftruncate(file.raw, 300_000) == 0)
        var count = 0
        try stream.readContent { count += $0.count }
        #expect(count == 200_000)
        let target = try Files.open("../copy", below: tree.fd.raw, O_RDWR | O_CREAT, mode: 0o600)
        try stream.writeContent(to: target.raw)
        #expect(try Files.status(of: target.raw).size == 200_000)
        #expect(ftruncate(file.raw, 1000) == 0)
        #expect(throws: StorageError.self) { try stream.readContent { _ in } }
        #expect(ftruncate(target.raw, 0) == 0)
        #expect(throws: StorageError.self) { try stream.writeContent(to: target.raw) }
    }
}
