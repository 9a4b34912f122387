// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import DeviceMapperDriver

/// Steps that were cut off, or that others came between.
extension DeviceMapperDriverTests {
    @Test func aCreationThatWasCutOffIsUndone() throws {
        let driver = try driver()
        try apply(driver, [file("a", size: 10)])
        let lost = LayerID.random()
        try driver.pool.locked { pool in
            let intent = Intent(
                transaction: pool.status.transaction,
                operation: .create(layer: lost.rawValue),
                device: 77,
                nextDevice: 78
            )
            try driver.pool.write(intent)
            try DeviceMapper.message(pool.name, "create_snap 77 0")
            try driver.pool.write(LayerRecord(device: 77, sectors: 8, state: .writable, origin: 0), of: lost)
        }
        #expect(try driver.pool.locked { $0.status.usedData } > 0)
        #expect(try !driver.list().contains(lost))
        try apply(driver, [file("a", size: 10)])
        try checkPool(driver)
        #expect(try devices(driver).contains(77) == false)
    }

    /// Whoever makes a layer's device may be killed before that has a table.
    @Test(.requires(.program("dmsetup"))) func aDeviceWithoutATableIsNobodys() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        let device = try driver.device(base, driver.record(base))
        let dmsetup = try ExternalProgram("dmsetup", package: "dmsetup")
        func leave() throws {
            let (code, output) = try dmsetup.run(["create", device.name, "--notable"])
            try #require(code == 0, "\(output)")
        }
        let chain = LayerChain([base])
        try leave()
        try driver.prepare(LayerID.random(), over: chain, options: LayerOptions())
        let note = driver.pool.directory.appending("suspended")
        try Files.replace(note, with: Array(device.name.utf8), durable: false)
        try apply(driver, [file("b", size: 10)], over: chain)
        #expect(try Files.status(note) == nil)
        #expect(try DeviceMapper.info(device.name)?.hasTable == false)
        do {
            let mounted = try driver.mount(base, over: Self.none, access: .readOnly)
            #expect(try Files.status("a", below: mounted.root.raw)?.size == 10)
        }
        try device.waitUntilGone()
        try leave()
        #expect(try device.fileSystemUUID(in: driver.pool.directory) == driver.pool.record()?.baseUUID)
        try checkPool(driver)
    }

    private func devices(_ driver: DeviceMapperDriver) throws -> [UInt32] {
        let file = SharedFD(try Files.open(driver.pool.directory.appending("metadata"), O_RDONLY))
        return try ThinMetadata(DiskReader(file)).devices()
    }

    @Test func aDeletionThatWasCutOffIsDone() throws {
        let driver = try driver()
        let id = try apply(driver, [file("a", size: 10)])
        try driver.remove(id)
        let trash = try Files.openDirectory(directory.appending("home/trash"))
        #expect(try Files.list(trash.raw).count == 1)
        try driver.pool.locked { try $0.delete(1) }
        try driver.emptyTrash { false }
        #expect(try Files.list(trash.raw).isEmpty)
        try checkPool(driver)
        #expect(try devices(driver) == [0])
    }

    @Test func whatKilledCommandsLeftBesideThePoolGoes() throws {
        let driver = try driver()
        try driver.startPool()
        let (old, new) = (
            driver.pool.directory.appending(".intent.1"), driver.pool.directory.appending(".record.1")
        )
        for path in [old, new] { try Files.replace(path, with: [1], durable: false) }
        let times = [timespec(tv_sec: 1000, tv_nsec: 0), timespec(tv_sec: 1000, tv_nsec: 0)]
        try system("utimensat") { utimensat(AT_FDCWD, old.string, times, 0) }
        try driver.emptyTrash { false }
        #expect(try Files.status(old) == nil)
        #expect(try Files.status(new) != nil)
        try driver.startPool()
    }

    @Test func devicesWithoutARecordAreDeleted() throws {
        let driver = try driver()
        let ids = try (0..<3).map { _ in try apply(driver, [file("a", size: 10)]) }
        try driver.stopPool()
        try Files.unlink(driver.pool.layerPath(ids[1].rawValue))
        try driver.startPool()
        try checkPool(driver)
        #expect(try devices(driver) == [0, 1, 3])
        // What this store never made is not its to delete.
        try driver.startPool()
        try driver.pool.locked { try DeviceMapper.message($0.name, "create_thin 500") }
        try driver.stopPool()
        #expect(throws: StorageError.self) { try driver.startPool() }
    }

    @Test func takenNumbersAreLeftOut() throws {
        let driver = try driver()
        let first = try apply(driver, [file("a", size: 10)])
        try driver.pool.locked { pool in
            for device in [2, 3] { try DeviceMapper.message(pool.name, "create_thin \(device)") }
        }
        let id = try apply(driver, [file("a", size: 10)])
        #expect(try driver.record(id).device == 4)
        // When all numbers were used once, those that layers have are left as they are.
        try driver.pool.locked { pool in
            let transaction = pool.status.transaction
            try driver.pool.write(Intent(transaction: transaction, nextDevice: DeviceIDs.last))
        }
        let numbers = try (0..<2).map { _ in
            let id = LayerID.random()
            try driver.prepare(id, over: LayerChain([first]), options: LayerOptions())
            return try driver.record(id).device
        }
        #expect(numbers == [DeviceIDs.last, 5])
        try driver.stopPool()
        #expect(try devices(driver) == [0, 1, 2, 3, 4, 5, DeviceIDs.last])
        let mounted = try driver.mount(first, over: Self.none, access: .readOnly)
        #expect(try Files.status("a", below: mounted.root.raw) != nil)
    }

    @Test func recordsThatAPowerCutBroughtBackGo() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        let record = try driver.record(id)
        try driver.remove(id)
        try driver.emptyTrash { false }
        try driver.stopPool()
        try driver.pool.write(record, of: id)
        #expect(try driver.list() == [base])
    }

    /// Its last user may go between any two calls: what is done meanwhile is done once all the same.
    @Test func aSuspendedDeviceMayGo() throws {
        let driver = try driver()
        let base = try apply(driver, [file("a", size: 10)])
        let device = try driver.device(base, driver.record(base))
        _ = try device.activate()
        var times = 0
        try driver.pool.locked { pool in
            try pool.suspending(device.name) { () throws(SystemError) in
                try DeviceMapper.remove(device.name, deferred: false)
                times += 1
            }
        }
        #expect(times == 1)
        #expect(try DeviceMapper.info(device.name) == nil)
        #expect(try Files.status(driver.pool.directory.appending("suspended")) == nil)
        try checkPool(driver)
    }
}
