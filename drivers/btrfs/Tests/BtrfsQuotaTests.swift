// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import BtrfsDriver

/// Quotas are of a whole file system, so each test has one of its own.
@Suite(.requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs")))
struct BtrfsQuotaTests {
    private let fileSystem: LoopFileSystem
    private let driver: BtrfsDriver
    private let top: SharedFD

    init() throws {
        fileSystem = try LoopFileSystem("btrfs", size: 512 << 20)
        driver = try BtrfsDriver(home: fileSystem.path.appending("home"), options: [:])
        top = SharedFD(try Files.openDirectory(fileSystem.path.appending("home")))
    }

    @Test func limitsWhatALayerWrites() throws {
        let id = try limited(8 << 20)
        #expect(try mode() != "off")
        #expect(try fill(id, upTo: 16 << 20) < 9 << 20)
        // Others are not limited.
        let other = LayerID.random()
        try driver.prepare(other, over: LayerChain(), options: LayerOptions())
        #expect(try fill(other, upTo: 16 << 20) == 16 << 20)
    }

    @Test func limitsSubvolumesInTheLayer() throws {
        let id = try limited(8 << 20)
        guard try mode() == "simple" else { return }
        let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
        let tree = try Files.openDirectory(".", below: mounted.root.raw)
        try system("make") { cbtrfs_create(tree.raw, "nested") }
        #expect(try fill(id, name: "nested/file", upTo: 16 << 20) < 9 << 20)
    }

    @Test func aFullLayerWithSubvolumesIsDeleted() throws {
        let id = try limited(8 << 20)
        do {
            let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
            let tree = try Files.openDirectory(".", below: mounted.root.raw)
            try system("make") { cbtrfs_create(tree.raw, "nested") }
            _ = try fill(id, name: "nested/file", upTo: 16 << 20)
        }
        try Files.syncFileSystem(of: top.raw)
        try driver.remove(id)
        try driver.emptyTrash { false }
        let layers = try Files.openDirectory("layers", below: top.raw)
        #expect(try Files.list(layers.raw).isEmpty)
    }

    @Test func withFullQuotasThatSomebodyTurnedOn() throws {
        try system("quota") { cbtrfs_enable_quota(top.raw) }
        try system("quota") { cbtrfs_wait_for_rescan(top.raw) }
        let id = try limited(8 << 20)
        #expect(try mode() == "full")
        #expect(try fill(id, upTo: 16 << 20) < 9 << 20)
    }

    @Test func turnedOffBehindOurBack() throws {
        let id = try limited(8 << 20)
        try system("quota") { cbtrfs_disable_quota(top.raw) }
        #expect { _ = try driver.mount(id, over: LayerChain(), access: .readWrite) } throws: { error in
            let error = error as? StorageError
            return error?.code == .unsupported && error?.remedy?.contains("quota enable") == true
        }
        // Readable all the same; and on again, the limit is set again.
        _ = try driver.mount(id, over: LayerChain(), access: .readOnly)
        if cbtrfs_enable_simple_quota(top.raw) == -1 {
            try system("quota") { cbtrfs_enable_quota(top.raw) }
            try system("quota") { cbtrfs_wait_for_rescan(top.raw) }
        }
        #expect(try fill(id, upTo: 16 << 20) < 9 << 20)
    }

    @Test func groupsGoWithTheLayer() throws {
        let id = try limited(8 << 20)
        _ = try fill(id, upTo: 4 << 20)
        try driver.remove(id)
        try driver.emptyTrash { false }
        try driver.waitUntilFreed { false }
        try driver.emptyTrash { false }
        let quota = try Files.openDirectory("quota", below: top.raw)
        #expect(try Files.list(quota.raw).isEmpty)
    }

    @Test func nothingIsTurnedOnWithoutNeed() throws {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        #expect(try mode() == "off")
    }

    /// A limited layer is made for itself, not taken from those that are there.
    @Test func limitOverAParentWithAReserve() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let over = LayerChain([base])
        for _ in 0..<2 { try driver.prepare(LayerID.random(), over: over, options: LayerOptions()) }
        let (id, other) = (LayerID.random(), LayerID.random())
        try driver.prepare(id, over: over, options: LayerOptions(size: 8 << 20))
        #expect(try fill(id, upTo: 16 << 20) < 9 << 20)
        #expect(try Files.status("reserve/\(base)/0/layer", below: top.raw) != nil)
        // What was made before there were quotas is good for those without a limit.
        try driver.prepare(other, over: over, options: LayerOptions())
        #expect(try fill(other, upTo: 16 << 20) == 16 << 20)
        #expect(try Files.status("reserve/\(base)/0/layer", below: top.raw) == nil)
    }

    private func mode() throws -> String? { try driver.status().first { $0.name == "Quotas" }?.value }

    private func limited(_ size: Int64) throws -> LayerID {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain(), options: LayerOptions(size: size))
        return id
    }

    /// Writes a file until it cannot go on; its length.
    private func fill(_ id: LayerID, name: String = "file", upTo size: Int) throws -> Int {
        let mounted = try driver.mount(id, over: LayerChain(), access: .readWrite)
        let file = try Files.open(name, below: mounted.root.raw, O_WRONLY | O_CREAT, mode: 0o600)
        let piece = [UInt8](repeating: 7, count: 256 << 10)
        var written = 0
        do throws(SystemError) {
            while written < size {
                try Files.writeAll(piece, to: file.raw)
                try system("fsync") { fsync(file.raw) }
                written += piece.count
            }
        } catch {
            guard error.errno == Errno(rawValue: EDQUOT) else { throw error }
        }
        return written
    }
}
