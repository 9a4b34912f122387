// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import DeviceMapperDriver

/// Pools that are full, and how they get larger.
extension DeviceMapperDriverTests {
    @Test func aFullPoolRefusesAndRecovers() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 96 << 10), try disk("metadata", kilobytes: 4 << 10)
        )
        let driver = try driver(
            "home",
            ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": "10%"]
        )
        let base = try apply(driver, [file("a", size: 1 << 20)])
        let error = #expect(throws: StorageError.self) {
            try self.apply(driver, (0..<100).map { self.file("f\($0)", size: 1 << 20) })
        }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        #expect(error?.message.contains("entry") == true)
        #expect(try driver.list() == [base])
        try driver.emptyTrash { false }
        // A container that fills the pool gets an error and does not hang.
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        do {
            let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
            let failure = #expect(throws: SystemError.self) {
                try write(110 << 20, to: "big", below: mounted.root.raw)
            }
            #expect(
                // A file system that could not write its journal may have been made read-only by then.
                [.noSpace, .ioError, .readOnlyFileSystem].contains(failure?.errno),
                "\(String(describing: failure))"
            )
            let full = #expect(throws: StorageError.self) {
                try driver.prepare(LayerID.random(), over: LayerChain([base]), options: LayerOptions())
            }
            #expect(full?.code == .noSpace)
            let warnings = try driver.status().filter { $0.name == "Warning" }.map(\.value)
            #expect(warnings.count == 1 && warnings[0].hasPrefix("the thin pool is full"), "\(warnings)")
        }
        try driver.remove(id)
        try driver.emptyTrash { false }
        let next = try apply(driver, [file("b", size: 1 << 20)], over: LayerChain([base]))
        let mounted = try driver.mount(next, over: LayerChain([base]), access: .readOnly)
        #expect(try Files.status("a", below: mounted.root.raw)?.size == 1 << 20)
    }

    @Test func aShortageIsToldBeforeLayersAreRefused() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 96 << 10), try disk("metadata", kilobytes: 4 << 10)
        )
        let driver = try driver(
            "home",
            ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": "40%"]
        )
        let base = try apply(driver, [file("a", size: 1 << 20)])
        #expect(try !driver.status().contains { $0.name == "Warning" })
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        do {
            let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
            // From 48 MiB on it is told, and refused when 4 MiB more would leave less than 38.4.
            let used = try driver.pool.locked { $0.status.usedData * Int64($0.record.blockSectors) * 512 }
            try write((51 << 20) - Int(used), to: "big", below: mounted.root.raw)
        }
        let warnings = try driver.status().filter { $0.name == "Warning" }.map(\.value)
        #expect(warnings.count == 1 && warnings[0].contains("thin pool's data space"), "\(warnings)")
        #expect(driver.advice.count == 1)
        try driver.prepare(LayerID.random(), over: LayerChain([base]), options: LayerOptions())
    }

    @Test func fullMetadataRefusesAndRecovers() throws {
        let (data, metadata) = (try disk("data", kilobytes: 1 << 20), try disk("metadata", kilobytes: 512))
        let driver = try driver(
            "home",
            ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": "20%"]
        )
        var made: [LayerID] = []
        var failure: StorageError?
        while failure == nil, made.count < 400 {
            do {
                let id = LayerID.random()
                try driver.prepare(id, over: Self.none, options: LayerOptions())
                made.append(id)
                let mounted = try driver.mount(id, over: Self.none, access: .readWrite)
                try write(1, to: "f", below: mounted.root.raw)
            } catch let error as StorageError { failure = error }
        }
        #expect(
            failure?.code == .noSpace && failure?.message.contains("metadata") == true,
            "\(String(describing: failure))"
        )
        let unpacked = #expect(throws: StorageError.self) {
            try self.apply(driver, (0..<80).map { self.file("f\($0)", size: 1 << 20) })
        }
        #expect(
            unpacked?.code == .noSpace && unpacked?.message.contains("metadata") == true,
            "\(String(describing: unpacked))"
        )
        for id in made { try driver.remove(id) }
        try driver.emptyTrash { false }
        try apply(driver, [file("a", size: 10)])
    }

    @Test func aFullDiskBelowThePoolRefusesAndRecovers() throws {
        let disk = try LoopFileSystem("ext4", size: 128 << 20)
        let driver = try DeviceMapperDriver(
            home: disk.path.appending("home"),
            options: ["dm.basesize": "128m"]
        )
        defer { try? driver.stopPool() }
        let base = try apply(driver, [file("a", size: 1 << 20)])
        let error = #expect(throws: StorageError.self) {
            try self.apply(driver, (0..<110).map { self.file("f\($0)", size: 1 << 20) })
        }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        #expect(try driver.list() == [base])
        try driver.emptyTrash { false }
        // A container that fills the disk gets an error, and its removal gives the space back.
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        do {
            let mounted = try driver.mount(id, over: LayerChain([base]), access: .readWrite)
            #expect(throws: SystemError.self) { try write(120 << 20, to: "big", below: mounted.root.raw) }
        }
        try driver.remove(id)
        try driver.emptyTrash { false }
        try apply(driver, [file("b", size: 1 << 20)], over: LayerChain([base]))
        #expect(try driver.pool.locked { $0.status.mode } == .readWrite)
        try checkPool(driver)
    }

    @Test func aPoolGrowsWithItsDevices() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 96 << 10), try disk("metadata", kilobytes: 4 << 10)
        )
        let driver = try driver("home", ["dm.datadev": data, "dm.metadatadev": metadata])
        let base = try apply(driver, [file("a", size: 1 << 20)])
        let mounted = try driver.mount(base, over: Self.none, access: .readOnly)
        let large = (0..<100).map { file("f\($0)", size: 1 << 20) }
        let error = #expect(throws: StorageError.self) { try self.apply(driver, large) }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        for (name, size) in [("data", 256 << 20), ("metadata", 8 << 20)] {
            try resize(directory.appending(name), to: Int64(size))
            let loop = try LoopDevice.attach(directory.appending(name))
            try loop.takeSize()
        }
        let id = try apply(driver, large)
        let status = try driver.pool.locked { $0.status }
        #expect(status.totalData == (256 << 20) / (64 << 10))
        #expect(status.totalMetadata == (8 << 20) / 4096)
        #expect(try Files.status("a", below: mounted.root.raw)?.size == 1 << 20)
        #expect(try driver.usage(id).bytes >= 100 << 20)
    }

    @Test func aPoolWithoutAFreeNumberRefuses() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        try driver.pool.locked { pool in
            for device in 2..<(2 + OpenPool.mostTaken) {
                try DeviceMapper.message(pool.name, "create_thin \(device)")
            }
        }
        let id = LayerID.random()
        let error = #expect(throws: StorageError.self) {
            try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        }
        #expect(error?.code == .noSpace && error?.message.contains("no number is free") == true)
        #expect(try driver.list() == [base])
        // The next try goes on from there.
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        #expect(try driver.record(id).device == UInt32(2 + OpenPool.mostTaken))
    }

    @Test func metadataThatFillsUpWhileAContainerWritesIsAnError() throws {
        let (data, metadata) = (
            try disk("data", kilobytes: 2 << 20), try disk("metadata", kilobytes: 512)
        )
        let driver = try driver(
            "home",
            ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": "20%"]
        )
        let base = try apply(driver, [file("a", size: 10)])
        let made = try (0..<24).map { _ in
            let id = LayerID.random()
            try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
            return id
        }
        do {
            let trees = try made.map { id in
                let device = try driver.device(id, driver.record(id))
                return SharedFD(try device.mount(.write, in: driver.pool.directory))
            }
            #expect(throws: SystemError.self) {
                for tree in trees { try write(48 << 20, to: "big", below: tree.raw) }
            }
            // In use, it stays as it is and says so.
            let refused = #expect(throws: StorageError.self) { try driver.startPool() }
            #expect(refused?.message.contains("read-only") == true, "\(String(describing: refused))")
            #expect(try driver.status().contains { $0.name == "Warning" })
            withExtendedLifetime(trees) {}
        }
        // Then it is checked and started again, and larger; the kernel takes a moment to let the devices go.
        try resize(directory.appending("metadata"), to: 8 << 20)
        let loop = try LoopDevice.attach(directory.appending("metadata"))
        try loop.takeSize()
        #expect(eventually { (try? driver.startPool()) != nil })
        for id in made { try driver.remove(id) }
        try driver.emptyTrash { false }
        let next = try apply(driver, [file("b", size: 1 << 20)], over: LayerChain([base]))
        let mounted = try driver.mount(next, over: LayerChain([base]), access: .readOnly)
        #expect(try Files.status("b", below: mounted.root.raw)?.size == 1 << 20)
    }

    // MARK: - Metadata

    /// A driver on devices of its own with little metadata, at a floor.
    private func driverWithLittleMetadata() throws -> (_ floor: String) throws -> DeviceMapperDriver {
        let (data, metadata) = (
            try disk("data", kilobytes: 512 << 10), try disk("metadata", kilobytes: 512)
        )
        return { floor in
            try self.driver(
                "home",
                ["dm.datadev": data, "dm.metadatadev": metadata, "dm.min_free_space": floor]
            )
        }
    }

    /// The number of the first device of `fill`: the store may have given out those.
    private static let firstFiller: UInt32 = 1000

    /// Lets the store go on with numbers beyond those of `fill`, so that it deletes what it finds of them.
    private func reserveFillers(_ driver: DeviceMapperDriver) throws {
        try driver.pool.locked { pool in
            let next = Self.firstFiller + 10_000
            try driver.pool.write(Intent(transaction: pool.status.transaction, nextDevice: next))
        }
    }

    /// Makes empty devices, each of which takes metadata, until `free` blocks of it are left or the pool takes no more.
    @discardableResult
    private func fill(_ driver: DeviceMapperDriver, leaving free: Int64) throws -> [UInt32] {
        let record = try #require(try driver.pool.record())
        let name = try driver.pool.name(of: record)
        var made: [UInt32] = []
        for device in Self.firstFiller..<(Self.firstFiller + 1000) {
            let line = try #require(try DeviceMapper.status(name, flushes: true))
            let status = try #require(PoolStatus(line))
            if status.isGivenUp || status.totalMetadata - status.usedMetadata <= free { return made }
            do throws(SystemError) {
                try DeviceMapper.message(name, "create_thin \(device)")
            } catch {
                #expect(free == 0, "\(error)")
                return made
            }
            made.append(device)
        }
        Issue.record("the metadata does not fill up")
        return made
    }

    @Test func theFloorOfMetadataIsTheUsers() throws {
        let open = try driverWithLittleMetadata()
        let driver = try open("50%")
        let base = try apply(driver, [file("a", size: 10)])
        try reserveFillers(driver)
        // 24 blocks for what a small layer needs and 64 of 128 do not fit; the least floor, 16, does.
        let made = try fill(driver, leaving: 60)
        let error = #expect(throws: StorageError.self) {
            try driver.prepare(LayerID.random(), over: LayerChain([base]), options: LayerOptions())
        }
        #expect(error?.code == .noSpace && error?.message.contains("64 are kept free") == true)
        #expect(error?.message.contains("for metadata") == true, "\(String(describing: error))")
        let id = LayerID.random()
        try open("0%").prepare(id, over: LayerChain([base]), options: LayerOptions())
        #expect(try Set(driver.list()) == [base, id])
        // What is deleted is free again.
        try driver.pool.locked { pool in for device in made { try pool.delete(device) } }
        try driver.prepare(LayerID.random(), over: LayerChain([base]), options: LayerOptions())
    }

    @Test func anUnpackStopsAtTheFloorOfMetadata() throws {
        let driver = try driverWithLittleMetadata()("20%")
        let base = try apply(driver, [file("a", size: 1 << 20)])
        try reserveFillers(driver)
        // The first 4 MiB ask for 24 blocks and what follows for 26, above a floor of 25.
        let entries = (0..<12).map { file("f\($0)", size: 1 << 20) }
        let source = HookedSource(entries, at: 2) { try self.fill(driver, leaving: 48) }
        let error = #expect(throws: StorageError.self) { try self.apply(driver, source) }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        #expect(error?.message.contains("for metadata") == true, "\(String(describing: error))")
        #expect(error?.message.contains("entry /f3") == true, "\(String(describing: error))")
        #expect(try driver.list() == [base])
        try driver.emptyTrash { false }
        let mounted = try driver.mount(base, over: Self.none, access: .readOnly)
        #expect(try Files.contents("a", below: mounted.root.raw, limit: 2 << 20).count == 1 << 20)
    }

    @Test func metadataThatFillsUpInTheMiddleOfAnUnpackIsAnError() throws {
        let driver = try driverWithLittleMetadata()("20%")
        let base = try apply(driver, [file("a", size: 1 << 20)])
        let other = try apply(driver, [file("b", size: 1 << 20)], over: LayerChain([base]))
        let container = LayerID.random()
        try driver.prepare(container, over: LayerChain([base]), options: LayerOptions())
        try reserveFillers(driver)
        // Somebody else takes the rest when space for the entries was already granted.
        let entries = (0..<3).map { file("f\($0)", size: 1 << 20) }
        let source = HookedSource(entries, at: 1) { try self.fill(driver, leaving: 0) }
        let error = #expect(throws: StorageError.self) { try self.apply(driver, source) }
        #expect(error?.code == .noSpace, "\(String(describing: error))")
        #expect(error?.message.contains("metadata blocks are used") == true, "\(String(describing: error))")
        #expect(error?.description.contains("\n") == false)
        #expect(try Set(driver.list()) == [base, other, container])
        // The next command has the pool checked and goes on, once the kernel has let the device go.
        #expect(eventually { (try? driver.startPool()) != nil })
        try driver.remove(container)
        try driver.emptyTrash { false }
        #expect(try Set(driver.list()) == [base, other])
        let next = try apply(driver, [file("c", size: 1 << 20)], over: LayerChain([base, other]))
        do {
            let mounted = try driver.mount(next, over: LayerChain([base, other]), access: .readOnly)
            for name in ["a", "b", "c"] {
                let bytes = try Files.contents(name, below: mounted.root.raw, limit: 2 << 20)
                #expect(bytes.count == 1 << 20 && bytes.allSatisfy { $0 == 0x61 })
            }
        }
        try checkPool(driver, directory.appending("metadata"))
    }
}

/// Entries of which one is not given before something else has happened.
private final class HookedSource: LayerEntrySource {
    private let source: MemorySource
    private let hooked: Int
    private let hook: () throws -> Void
    private var position = 0

    init(_ entries: [EntrySpec], at hooked: Int, _ hook: @escaping () throws -> Void) {
        source = MemorySource(entries, label: "layer of the test")
        (self.hooked, self.hook) = (hooked, hook)
    }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        if position == hooked { try hook() }
        position += 1
        return source.next()
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try source.readContent(body) }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}
