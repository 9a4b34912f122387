// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import DeviceMapperDriver

/// Two images of which one began as a copy of the other: what is found in their changed blocks is what the walk of both
/// trees finds.
@Suite(.requires(.root, .loopDevices, .filesystem("ext4"), .program("mkfs.ext4")), .serialized)
final class BlockCandidatesTests {
    private let directory: TemporaryDirectory
    private static let size = 64 << 20
    private static let blockSize = 64 << 10

    init() throws { directory = try TemporaryDirectory() }

    private func makeImage(_ name: String) throws {
        let file = try Files.open(directory.appending(name), O_RDWR | O_CREAT, mode: 0o600)
        try system("ftruncate") { ftruncate(file.raw, Self.size) }
        let maker = try FileSystemMaker(.ext4, uuid: UUIDText.random(), sectors: UInt64(Self.size / 512))
        let (code, output) = try maker.program.run(maker.arguments + [directory.appending(name).string])
        try #require(code == 0, "\(output)")
    }

    /// Runs `body` on the mounted image.
    private func mounted<T>(_ name: String, readOnly: Bool = false, _ body: (CInt) throws -> T) throws -> T {
        let loop = try LoopDevice.attach(directory.appending(name))
        var parameters: [DetachedMount.Parameter] = [
            .string("source", loop.path.string), .flag("noinit_itable"),
        ]
        if readOnly { parameters.append(.flag("ro")) }
        let root = try DetachedMount.make("ext4", parameters, attributes: .noAccessTime)
        return try withExtendedLifetime(SharedFD(root)) { try body($0.raw) }
    }

    private func copyImage() throws {
        let program = try ExternalProgram("cp", package: "coreutils")
        let (code, output) = try program.run([
            "--sparse=always", directory.appending("parent").string, directory.appending("tree").string,
        ])
        try #require(code == 0, "\(output)")
        // Past the tick of the last change.
        let tick = directory.appending("tick")
        func now() throws -> Timestamp? {
            try Files.replace(tick, with: [], durable: false)
            return try Files.status(tick)?.ctime
        }
        let last = try now()
        #expect(try eventually { try now() != last })
    }

    /// The blocks in which the images differ.
    private func changedBlocks() throws -> [UInt64] {
        let (one, two) = (
            SharedFD(try Files.open(directory.appending("parent"), O_RDONLY)),
            SharedFD(try Files.open(directory.appending("tree"), O_RDONLY))
        )
        var changed: [UInt64] = []
        for block in 0..<(Self.size / Self.blockSize) {
            let place = UInt64(block * Self.blockSize)
            let old = try DiskReader(one).read(at: place, count: Self.blockSize).bytes
            let new = try DiskReader(two).read(at: place, count: Self.blockSize).bytes
            if memcmp(old, new, Self.blockSize) != 0 { changed.append(UInt64(block)) }
        }
        return changed
    }

    private func candidates() throws -> BlockCandidates {
        try BlockCandidates(
            parent: DiskReader(SharedFD(try Files.open(directory.appending("parent"), O_RDONLY))),
            tree: DiskReader(SharedFD(try Files.open(directory.appending("tree"), O_RDONLY))),
            blocks: try changedBlocks(),
            blockSize: UInt64(Self.blockSize)
        )
    }

    private func compare() throws -> [Change] {
        let found = try candidates().candidates()
        return try mounted("parent", readOnly: true) { parent in
            try mounted("tree", readOnly: true) { tree in
                let walked = try TreeComparison.changes(parent: parent, tree: tree)
                let quick = try TreeComparison.changes(parent: parent, tree: tree, candidates: found)
                #expect(quick == walked)
                return walked
            }
        }
    }

    private func write(_ path: String, _ text: String, below root: CInt) throws {
        let file = try Files.open(path, below: root, O_WRONLY | O_CREAT, mode: 0o644)
        try Files.writeAll(Array(text.utf8), to: file.raw)
    }

    private func fill(_ root: CInt) throws {
        for folder in 0..<40 {
            try Files.makeDirectory("d\(folder)", below: root)
            for number in 0..<50 { try write("d\(folder)/f\(number)", "\(folder) \(number)", below: root) }
        }
        try Files.makeDirectory("d1/long", below: root)
        // More names than one block holds: an index.
        for number in 0..<400 {
            try write("d1/long/\(String(repeating: "n", count: 60))\(number)", "", below: root)
        }
        for name in ["d3/link", "d4/link"] {
            try system("link") {
                "d2/f1".withCString { from in name.withCString { linkat(root, from, root, $0, 0) } }
            }
        }
    }

    @Test func eachKindOfChangeIsFound() throws {
        try makeImage("parent")
        try mounted("parent") { try fill($0) }
        try copyImage()
        try mounted("tree") { root in
            try write("d0/f0", "x", below: root)
            try Files.unlink("d0/f1", below: root)
            try write("d0/new", "new", below: root)
            try Files.rename("d5", below: root, to: "d6/d5", below: root)
            try write("d6/d5/f7", "moved and changed", below: root)
            try Files.removeTree("d7", below: root)
            try Files.makeDirectory("d7", below: root)
            try write("d7/f0", "again", below: root)
            try system("chmod") { fchmodat(root, "d8/f8", 0o600, 0) }
            try Files.unlink("d9/f9", below: root)
            try Files.makeDirectory("d9/f9", below: root)
            try Files.unlink("d3/link", below: root)
            try system("link") { linkat(root, "d2/f1", root, "d10/another", 0) }
            try write("d11/f1", "11 1", below: root)  // same content, other time
            try write("d1/long/\(String(repeating: "n", count: 60))77", "77", below: root)
        }
        let changes = try compare().map(\.line)
        #expect(
            changes.contains("C /d0/f0") && changes.contains("D /d0/f1") && changes.contains("A /d6/d5/f7")
        )
        #expect(
            changes.contains("D /d3/link") && changes.contains("C /d4/link")
                && changes.contains("A /d10/another")
        )
    }

    @Test func fewFilesAreLookedAt() throws {
        try makeImage("parent")
        try mounted("parent") { try fill($0) }
        try copyImage()
        try mounted("tree") { try write("d0/f0", "x", below: $0) }
        let candidates = try candidates()
        #expect(candidates.inodes.count < 8)
        #expect(try compare().map(\.line) == ["C /", "C /d0", "C /d0/f0"])
    }

    @Test(arguments: 1...(getenv("STRATA_TEST_FULL") == nil ? 3 : 40))
    func randomChangesAreFound(_ seed: Int) throws {
        try makeImage("parent")
        var generator = SeededGenerator(seed: UInt64(seed))
        try mounted("parent") { root in
            try fill(root)
            for _ in 0..<200 { change(root, &generator) }
        }
        try copyImage()
        try mounted("tree") { root in for _ in 0..<(30 * (seed % 7)) { change(root, &generator) } }
        _ = try compare()
    }

    /// Some change, which may be impossible.
    private func change(_ root: CInt, _ generator: inout SeededGenerator) {
        func path() -> String {
            let folder = "d\(Int.random(in: 0..<20, using: &generator))"
            return Bool.random(using: &generator)
                ? "\(folder)/f\(Int.random(in: 0..<60, using: &generator))" : folder
        }
        let (one, two) = (path(), path())
        switch Int.random(in: 0..<9, using: &generator) {
        case 0, 1: try? write(one, "\(Int.random(in: 0..<9999, using: &generator))", below: root)
        case 2: _ = try? Files.unlink(one, below: root)
        case 3: try? Files.rename(one, below: root, to: two, below: root)
        case 4: _ = linkat(root, one, root, two, 0)
        case 5: _ = fchmodat(root, one, mode_t(Int.random(in: 0o400...0o777, using: &generator)), 0)
        case 6: try? Files.removeTree(one, below: root)
        case 7: try? Files.makeDirectory(one, below: root)
        default: _ = symlinkat(two, root, one)
        }
    }

    @Test func damageIsNoticed() throws {
        try makeImage("parent")
        try mounted("parent") { try fill($0) }
        try copyImage()
        try mounted("tree") { try write("d0/f0", "x", below: $0) }
        let path = directory.appending("tree")
        let file = try Files.open(path, O_RDWR)
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<20 {
            // Where superblock, descriptors and inode tables are.
            let place = off_t(Int.random(in: 1024..<(2 << 20), using: &generator))
            let noise = (0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }
            try system("pwrite") {
                noise.withUnsafeBytes { pwrite(file.raw, $0.baseAddress, $0.count, place) }
            }
            do { _ = try candidates().candidates() } catch is DiskDamage {} catch is SystemError {}
        }
    }
}
