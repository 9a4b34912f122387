// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Glibc
import LayerDiff
import LinuxSys
import Storage
import Synchronization
import SystemPackage
import TestGates
import Testing

@testable import DeviceMapperDriver

/// The driver beyond the conformance suite: its pool, and what goes wrong with it.
@Suite(.requires(.root, .thinPools), .serialized)
final class DeviceMapperDriverTests {
    let directory: TemporaryDirectory
    private let pools = OpenedPools()
    /// Loop devices, which would go with their last user.
    private let disks = Mutex<[SharedFD]>([])
    static let none = LayerChain()

    init() throws { directory = try TemporaryDirectory() }

    // Before the directory goes, which knows what they are.
    deinit { pools.stop() }

    func driver(
        _ name: String = "home",
        _ options: [String: String] = [:]
    ) throws -> DeviceMapperDriver {
        let all = ["dm.basesize": "128m"].merging(options) { $1 }
        let driver = try DeviceMapperDriver(home: directory.appending(name), options: all)
        pools.drivers.withLock { $0.append(driver) }
        return driver
    }

    func file(_ path: String, size: Int) -> EntrySpec {
        let bytes = [UInt8](repeating: 0x61, count: size)
        let pieces: [(offset: Int64, bytes: [UInt8])] = [(offset: Int64(0), bytes: bytes)]
        return EntrySpec.sparse(TreePath(bytes: Array(path.utf8)), size: Int64(size), pieces)
    }

    @discardableResult
    func apply(
        _ driver: DeviceMapperDriver,
        _ entries: [EntrySpec],
        over chain: LayerChain = LayerChain()
    ) throws -> LayerID {
        try apply(driver, MemorySource(entries, label: "layer of the test"), over: chain)
    }

    @discardableResult
    func apply(
        _ driver: DeviceMapperDriver,
        _ source: any LayerEntrySource,
        over chain: LayerChain = LayerChain()
    ) throws -> LayerID {
        let id = LayerID.random()
        let undecided = try driver.apply(source, to: id, over: chain)
        try driver.seal(id, over: chain, undecided: undecided)
        return id
    }

    /// The path of a loop device of a fresh file.
    func disk(_ name: String, kilobytes: Int) throws -> String {
        let path = directory.appending(name)
        let file = try Files.open(path, O_RDWR | O_CREAT, mode: 0o600)
        try system("ftruncate") { ftruncate(file.raw, kilobytes << 10) }
        let loop = try LoopDevice.attach(path)
        let fd = SharedFD(try loop.fd.duplicate())
        disks.withLock { $0.append(fd) }
        return loop.path.string
    }

    func write(_ bytes: Int, to name: String, below root: CInt) throws {
        let file = try Files.open(name, below: root, O_WRONLY | O_CREAT, mode: 0o644)
        let piece = [UInt8](repeating: 0x62, count: 1 << 20)
        for _ in 0..<(bytes >> 20) { try Files.writeAll(piece, to: file.raw) }
        try system("fsync") { fsync(file.raw) }
    }

    func checkPool(_ driver: DeviceMapperDriver, _ metadata: FilePath? = nil) throws {
        try driver.stopPool()
        let program = try ExternalProgram("thin_check", package: "thin-provisioning-tools")
        let path = metadata ?? driver.pool.directory.appending("metadata")
        let (code, output) = try program.run(["-q", path.string])
        #expect(code == 0, "\(output)")
    }

    // MARK: - Life of the pool

    @Test func thePoolComesBackWithItsLayers() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 100_000)])
        try driver.sync()
        try checkPool(driver)
        let again = try self.driver()
        #expect(try again.list() == [base])
        let mounted = try again.mount(base, over: Self.none, access: .readOnly)
        #expect(try Files.status("a", below: mounted.root.raw)?.size == 100_000)
    }

    @Test func layersWithASizeAreLarger() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions(size: 300 << 20))
        let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
        try write(200 << 20, to: "big", below: mounted.root.raw)
        let small = #expect(throws: StorageError.self) {
            try driver.prepare(
                LayerID.random(),
                over: LayerChain([base]),
                options: LayerOptions(size: 1 << 20)
            )
        }
        #expect(small?.code == .unsupported)
        #expect(try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == ["C /", "A /big"])
    }

    @Test func xfsLayersWork() throws {
        let driver = try driver("xfs", ["dm.fs": "xfs", "dm.basesize": "320m"])
        let base = try apply(driver, [file("a", size: 10), file("b", size: 10)])
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions(size: 400 << 20))
        let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
        try write(1 << 20, to: "new", below: mounted.root.raw)
        let below = try driver.mount(base, over: Self.none, access: .readOnly)
        #expect(try Files.status("new", below: below.root.raw) == nil)
        #expect(try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == ["C /", "A /new"])
        #expect(try driver.status().contains { $0.name == "Changes" && $0.value.contains("walking") })
    }

    @Test func filesOfThePoolGrowAndShrink() throws {
        let driver = try driver("home", ["dm.min_free_space": "90%"])
        let id = LayerID.random()
        try driver.prepare(id, over: Self.none, options: LayerOptions())
        let before = try driver.pool.locked { $0.status }
        // With the floor more than there is, however large the disk below.
        let block = try driver.pool.locked { Int64($0.record.blockSectors) * 512 }
        try driver.pool.locked { try $0.ensureSpace($0.status.totalData * block / 8, "test") }
        let after = try driver.pool.locked { $0.status }
        #expect(after.totalData > before.totalData)
        do {
            let mounted = try driver.mount(id, over: Self.none, access: .readWrite)
            try write(32 << 20, to: "big", below: mounted.root.raw)
        }
        let data = driver.pool.directory.appending("data")
        let full = try #require(try Files.status(data)).blocks
        #expect(try driver.usage(id).bytes >= 32 << 20)
        try driver.remove(id)
        try driver.emptyTrash { false }
        #expect(try #require(try Files.status(data)).blocks < full - (32 << 20) / 512)
        try checkPool(driver)
        _ = try apply(driver, [file("a", size: 10)])
    }

    @Test func whoHoldsALayerIsNamed() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        do {
            let mounted = try driver.mount(base, over: Self.none, access: .readOnly)
            try driver.remove(base)
            let error = #expect(throws: StorageError.self) { try driver.emptyTrash { false } }
            #expect(error?.code == .inUse)
            #expect(error?.message.contains("process \(getpid()) (") == true, "\(String(describing: error))")
            #expect(try Files.status("a", below: mounted.root.raw) != nil)
        }
        try driver.emptyTrash { false }
        let trash = try Files.openDirectory(directory.appending("home/trash"))
        #expect(try Files.list(trash.raw).isEmpty)
    }

    // MARK: - Wrong and damaged pools

    @Test func wrongPoolsAreRefused() throws {
        let driver = try driver()
        try apply(driver, [file("a", size: 10)])
        let (data, metadata) = (
            driver.pool.directory.appending("data"), driver.pool.directory.appending("metadata")
        )
        try driver.stopPool()
        let old = try Files.contents(metadata)
        for _ in 0..<2 { try apply(driver, [file("a", size: 10)]) }
        try driver.stopPool()
        func refused(_ code: StorageError.Code, _ text: String, _ line: Int = #line) {
            let error = #expect(throws: StorageError.self, "line \(line)") { try driver.startPool() }
            #expect(
                error?.code == code && error?.message.contains(text) == true,
                "line \(line): \(String(describing: error))"
            )
            try? driver.stopPool()
        }
        let new = try Files.contents(metadata)
        try Files.replace(metadata, with: old, durable: false)
        refused(.corrupt, "set back")
        var damaged = new
        for index in 0..<4096 { damaged[8 * 4096 + index] = 0x55 }
        for index in 0..<512 { damaged[index] = 0x55 }
        try Files.replace(metadata, with: damaged, durable: false)
        refused(.corrupt, "superblock is corrupt")
        try Files.replace(metadata, with: [UInt8](repeating: 0, count: new.count), durable: false)
        refused(.corrupt, "empty")
        try Files.replace(metadata, with: Array(new.prefix(1 << 20)), durable: false)
        refused(.corrupt, "truncated")
        try Files.replace(metadata, with: new, durable: false)
        let others = ["record", "intent"].map { driver.pool.directory.appending($0) }
        for path in [data, metadata] + others {
            try Files.rename(path, to: directory.appending("elsewhere"))
            refused(.corrupt, "missing")
            if path.lastComponent == "record" {
                let error = #expect(throws: StorageError.self) { try driver.status() }
                #expect(error?.code == .corrupt && error?.message.contains("missing") == true)
                #expect(driver.advice.isEmpty)
            }
            try Files.rename(directory.appending("elsewhere"), to: path)
        }
        let size = try #require(try Files.status(data)).size
        try resize(data, to: size - (1 << 20))
        refused(.corrupt, "truncated")
        try resize(data, to: size)
        try driver.startPool()
        #expect(try driver.list().count == 3)
    }

    func resize(_ path: FilePath, to size: Int64) throws {
        let file = try Files.open(path, O_RDWR)
        try system("ftruncate") { ftruncate(file.raw, off_t(size)) }
    }

    @Test func metadataOfTheTransactionBeforeIsRefused() throws {
        let driver = try driver()
        try apply(driver, [file("a", size: 10)])
        let metadata = driver.pool.directory.appending("metadata")
        try driver.stopPool()
        let old = try Files.contents(metadata)
        let last = try apply(driver, [file("b", size: 10)])
        try driver.stopPool()
        let new = try Files.contents(metadata)
        try Files.replace(metadata, with: old, durable: false)
        let error = #expect(throws: StorageError.self) { try driver.startPool() }
        #expect(error?.code == .corrupt && error?.message.contains("layer \(last)") == true)
        #expect(try driver.list().contains(last))
        try Files.replace(metadata, with: new, durable: false)
        let mounted = try driver.mount(last, over: Self.none, access: .readOnly)
        #expect(try Files.status("b", below: mounted.root.raw) != nil)
    }

    @Test func anotherStoresPoolIsRefused() throws {
        let drivers = try ["one", "two"].map { try self.driver($0) }
        for driver in drivers {
            try apply(driver, [file("a", size: 10)])
            try driver.stopPool()
        }
        // The transaction is the same in both.
        for name in ["data", "metadata"] {
            let (from, to) = (
                drivers[0].pool.directory.appending(name), drivers[1].pool.directory.appending(name)
            )
            try Files.rename(from, to: to)
        }
        let error = #expect(throws: StorageError.self) { try drivers[1].startPool() }
        #expect(
            error?.code == .corrupt && error?.message.contains("base file system") == true,
            "\(String(describing: error))"
        )
        #expect(try drivers[1].list().count == 1)
    }

    @Test func devicesThatHoldSomethingAreRefused() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 256 << 10), try disk("metadata", kilobytes: 8 << 10)
        )
        let options = ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": "5%"]
        let first = try driver("one", options)
        let id = try apply(first, [file("a", size: 100)])
        try first.stopPool()
        let error = #expect(throws: StorageError.self) { try self.driver("two", options).startPool() }
        #expect(error?.code == .invalid)
        let empty = try disk("empty", kilobytes: 8 << 10)
        let plain = directory.appending("plain")
        try Files.replace(plain, with: [UInt8](repeating: 0, count: 1 << 20), durable: false)
        for (wrong, why) in [
            (data, "not empty"), (plain.string, "no block device"), ("\(plain)-not", "No such file"),
        ] {
            let options = ["dm.datadev": wrong, "dm.metadatadev": empty]
            let error = #expect(throws: StorageError.self) { try self.driver("two", options).startPool() }
            let message = error?.message ?? ""
            #expect(error?.code == .invalid && message.contains(wrong) && message.contains(why), "\(message)")
        }
        // Whose they are finds them again, without being told.
        let again = try driver("one")
        let mounted = try again.mount(id, over: Self.none, access: .readOnly)
        #expect(try Files.status("a", below: mounted.root.raw) != nil)
        // The pool as a whole is not free either.
        let name = try again.pool.locked { $0.name }
        let other = #expect(throws: StorageError.self) {
            try self.driver("three", ["dm.thinpooldev": "/dev/mapper/\(name)"]).startPool()
        }
        #expect(other?.code == .invalid, "\(String(describing: other))")
    }

    @Test func aPoolOfSomebodyElseIsUsed() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 256 << 10), try disk("metadata", kilobytes: 8 << 10)
        )
        let name = "test-pool-\(getpid())"
        func table(_ features: String) -> DeviceMapper.Table {
            DeviceMapper.Table(
                sectors: 256 << 11,
                target: "thin-pool",
                parameters: "\(metadata) \(data) 256 0 \(features)"
            )
        }
        // The kernel's own choice is that writers wait for space.
        _ = try DeviceMapper.create(name, uuid: name, table("0"), withNode: true)
        defer {
            _ = try? Retry.whileBusy { () throws(SystemError) in
                try DeviceMapper.remove(name, deferred: false)
            }
        }
        let waiting = #expect(throws: StorageError.self) {
            try self.driver("waiting", ["dm.thinpooldev": "/dev/mapper/\(name)"]).startPool()
        }
        #expect(
            waiting?.code == .invalid && waiting?.message.contains("has to wait") == true,
            "\(String(describing: waiting))"
        )
        try DeviceMapper.load(name, table("1 error_if_no_space"))
        try DeviceMapper.suspend(name)
        try DeviceMapper.resume(name)
        let driver = try driver("home", ["dm.thinpooldev": "/dev/mapper/\(name)", "dm.min_free_space": "5%"])
        let base = try apply(driver, [file("a", size: 100)])
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        do {
            let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
            try write(1 << 20, to: "new", below: mounted.root.raw)
            #expect(
                try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == ["C /", "A /new"]
            )
        }
        for layer in [id, base] { try driver.remove(layer) }
        try driver.emptyTrash { false }
        // Its devices are ours all the same: one that is not is seen when the machine was started anew.
        try DeviceMapper.message(name, "create_thin 500")
        try Files.unlink(driver.pool.directory.appending("boot"))
        let foreign = #expect(throws: StorageError.self) { try driver.startPool() }
        #expect(foreign?.code == .corrupt && foreign?.message.contains("device 500") == true)
        // A pool with something in it is not taken over, and one that is not there is missed.
        let other = #expect(throws: StorageError.self) {
            try self.driver("other", ["dm.thinpooldev": "/dev/mapper/\(name)"]).startPool()
        }
        #expect(other?.code == .invalid, "\(String(describing: other))")
        let missing = #expect(throws: StorageError.self) {
            try self.driver("missing", ["dm.thinpooldev": "/dev/mapper/\(name)-not"]).startPool()
        }
        #expect(missing?.code == .notFound, "\(String(describing: missing))")
    }
}
