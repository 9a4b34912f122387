// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import CBtrfsOracle
import DriverConformance
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import BtrfsDriver

/// Random sequences of operations: against the walk of both trees, and against what the kernel's send stream lists.
@Suite(.requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs"), .deviceNodes))
struct BtrfsRandomTests {
    private static let isFull = getenv("STRATA_TEST_FULL") != nil

    @Test(arguments: UInt64(1000)..<(isFull ? 1200 : 1020))
    func changesAreThoseOfTheWalk(_ seed: UInt64) throws {
        let place = try LoopFileSystem.shared("btrfs").path
        try ConformanceCase.seeded(seed: seed, count: 150).run(
            on: ConformanceSubject("btrfs", directory: place) { try BtrfsDriver(home: $0, options: [:]) }
        )
    }

    /// Read as it is, or as a snapshot of it.
    @Test(arguments: UInt64(3000)..<(isFull ? 3200 : 3010))
    func writableLayersAreReadBothWays(_ seed: UInt64) throws {
        let scratch = try TemporaryDirectory(below: LoopFileSystem.shared("btrfs").path)
        let driver = try BtrfsDriver(home: scratch.appending("home"), options: [:])
        let (base, id) = (LayerID.random(), LayerID.random())
        try driver.prepare(base, over: LayerChain(), options: LayerOptions())
        let parent = try driver.open(base)
        try operate(on: parent.raw, seed: seed &* 31, count: 200)
        try driver.seal(base, over: LayerChain(), undecided: Undecided())
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        let tree = try driver.open(id)
        for round in 0..<2 {
            try operate(on: tree.raw, seed: seed &+ UInt64(round), count: 60)
            let expected = try TreeComparison.changes(parent: parent.raw, tree: tree.raw)
            #expect(try driver.changes(id, over: LayerChain([base])).changes == expected)
            #expect(try driver.changes(of: id, tree.raw, parent: parent.raw, asItIs: false) == expected)
        }
    }

    /// Many files, which two threads look through, in directories whose entries are passed over or not.
    @Test func manyFilesInDirectoriesOfAllSizes() throws {
        let scratch = try TemporaryDirectory(below: LoopFileSystem.shared("btrfs").path)
        let driver = try BtrfsDriver(home: scratch.appending("home"), options: [:])
        let sizes = [0, 3, 30, 90, 200, 500]
        let base = try driver.sealedLayer { tree in
            for directory in 0..<90 {
                try Files.makeDirectory("d\(directory)", below: tree, mode: 0o755)
                let place = try Files.openDirectory("d\(directory)", below: tree)
                for file in 0..<sizes[directory % sizes.count] {
                    try write(String(repeating: "x", count: file * 7 % 3000), "f\(file)", below: place.raw)
                    if file % 40 == 17 { try Files.makeDirectory("s\(file)", below: place.raw, mode: 0o755) }
                }
            }
        }
        for seed in UInt64(0)..<(Self.isFull ? 60 : 6) {
            let id = LayerID.random()
            try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
            let parent = try driver.open(base)
            let tree = try driver.open(id)
            var random = SeededGenerator(seed: 5000 + seed)
            func path(_ names: [String]) -> TreePath {
                let directory = Int.random(in: 0..<90, using: &random)
                let size = sizes[directory % sizes.count]
                let name = names.randomElement(using: &random) ?? ""
                let number = Int.random(in: 0..<max(size, 1), using: &random)
                return TreePath(cleaning: "d\(directory)/" + (name.isEmpty ? "" : "\(name)\(number)"))
            }
            if seed % 2 == 1 {
                // No inode of the tree has its name, which is as long as that of a file that is gone.
                let place = try Files.openDirectory("d5", below: tree.raw)
                try Files.unlink("f10", below: place.raw)
                try Subvolume.create("sub", below: place.raw)
            }
            for number in 0..<(seed % 3 == 0 ? 12 : 150) {
                let (old, new) = (path(["f", "f", "f", "s", ""]), path(["f", "n", "n"]))
                let operation: Operation =
                    switch Int.random(in: 0..<12, using: &random) {
                    case 0, 1: .unlink(old)
                    case 2: .append(old, "\(number)")
                    case 3: .write(new, String(repeating: "n", count: number * 20))
                    case 4: .rename(old, to: new)
                    case 5: .link(new, to: old)
                    case 6: .chmod(old, 0o700)
                    case 7: .touch(old, Timestamp(seconds: Int64(number)))
                    case 8: .setAttribute(old, "user.n", [UInt8(number)])
                    case 9: .makeDirectory(new, mode: 0o755)
                    case 10: .removeTree(old)
                    default: .write(old, "replaced")
                    }
                // It may fail; then it has changed nothing.
                _ = try? operation.run(on: tree.raw, number: number)
            }
            let expected = try TreeComparison.changes(parent: parent.raw, tree: tree.raw)
            #expect(try driver.changes(id, over: LayerChain([base])).changes == expected, "seed \(seed)")
            try driver.remove(id)
        }
    }

    /// Whatever the kernel says has changed is among what we found, and hardly more is.
    @Test(arguments: UInt64(2000)..<(isFull ? 2200 : 2010))
    func changedInodesAreThoseOfTheSendStream(_ seed: UInt64) throws {
        let scratch = try TemporaryDirectory(below: LoopFileSystem.shared("btrfs").path)
        try system("make") { cbtrfs_create(scratch.fd, "parent") }
        let parent = try Subvolume.open("parent", below: scratch.fd)
        try operate(on: parent.raw, seed: seed &* 31, count: 200)
        try Subvolume.makeReadOnly(parent.raw)
        try Subvolume.snapshot(parent.raw, as: "tree", below: scratch.fd)
        let tree = try Subvolume.open("tree", below: scratch.fd)
        try operate(on: tree.raw, seed: seed, count: 120)
        try Subvolume.makeReadOnly(tree.raw)

        let made = try Subvolume.info(tree.raw).made
        let scan = InodeScan(tree.raw, over: parent.raw, after: made, hasSubvolumes: false)
        let ours = Set(try scan.find().map(\.inode))
        let kernels = try kernelsList(of: tree.raw, over: parent.raw, in: scratch)
        #expect(kernels.subtracting(ours).isEmpty)
        // Times that were set to what they were, and the like, are no difference to the kernel.
        #expect(ours.subtracting(kernels).count <= ours.count / 4)
        for name in ["tree", "parent", "replay"] { try Subvolume.delete(name, below: scratch.fd) }
    }

    private func operate(on root: CInt, seed: UInt64, count: Int) throws {
        var random = RandomOperations(seed: seed, count: count)
        for number in 0..<count {
            let facts = try TreeFacts(of: root)
            guard let operation = random.next(facts, image: facts, departures: []) else { continue }
            // It may fail; then it has changed nothing.
            _ = try? operation.run(on: root, number: number)
        }
    }

    /// The inodes of `tree` that the kernel's stream names, found by doing what it says to a copy of the parent.
    private func kernelsList(
        of tree: CInt,
        over parent: CInt,
        in scratch: TemporaryDirectory
    ) throws -> Set<UInt64> {
        let stream = try Files.open("stream", below: scratch.fd, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
        let id = try Subvolume.info(parent).id
        try system("send") { cbtrfs_send(tree, id, stream.raw) }
        try system("lseek") { lseek(stream.raw, 0, SEEK_SET) }
        try Subvolume.snapshot(parent, as: "replay", below: scratch.fd)
        let replay = try Subvolume.open("replay", below: scratch.fd)
        let touched = Touched()
        try system("replay") {
            cbtrfs_oracle_replay(
                stream.raw,
                replay.raw,
                { inode, context in
                    guard let context else { return }
                    Unmanaged<Touched>.fromOpaque(context).takeUnretainedValue().inodes.insert(inode)
                },
                Unmanaged.passUnretained(touched).toOpaque()
            )
        }
        // New files have other numbers in the copy.
        let copies = try inodes(of: replay.raw)
        let originals = try inodes(of: tree)
        #expect(Set(copies.keys) == Set(originals.keys))
        return Set(copies.filter { touched.inodes.contains($0.value) }.compactMap { originals[$0.key] })
    }

    private final class Touched {
        var inodes: Set<UInt64> = []
    }

    private func inodes(of root: CInt, _ path: TreePath = .root) throws -> [TreePath: UInt64] {
        var found = [path: try Files.status(of: root).inode]
        for entry in try Files.list(root) {
            let path = path.appending(entry.name)
            if entry.kind == .directory {
                let directory = try Files.openDirectory(entry.name, below: root)
                found.merge(try inodes(of: directory.raw, path)) { first, _ in first }
            } else {
                found[path] = entry.inode
            }
        }
        return found
    }
}
