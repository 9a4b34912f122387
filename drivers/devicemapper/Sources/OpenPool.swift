// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The running pool, while its lock is held.
struct OpenPool {
    let pool: ThinPool
    var record: PoolRecord
    let name: String
    let device: DeviceMapper.Device
    var status: PoolStatus
    private var intent = Intent(transaction: 0)

    init(
        pool: ThinPool,
        record: PoolRecord,
        name: String,
        device: DeviceMapper.Device,
        status: PoolStatus
    ) {
        (self.pool, self.record, self.name, self.device, self.status) = (pool, record, name, device, status)
    }

    // MARK: - Transactions

    /// Puts right what a killed process left half done, and refuses a pool that is not the one the intent is of.
    mutating func recover() throws {
        try resumeLeftover()
        intent = try pool.readIntent()
        try intent.check(status.transaction, name)
        if intent.standing(in: status.transaction) == .open { return try settle() }
        if intent.operation != .none, !intent.isDone { try noteDone() }
    }

    /// Where it stands which device is suspended: whoever does that and is killed leaves others waiting for it.
    private var suspensionNote: FilePath { pool.directory.appending("suspended") }

    private func resumeLeftover() throws {
        guard try Files.status(suspensionNote) != nil else { return }
        let name = String(decoding: try Files.contents(suspensionNote, limit: 256), as: UTF8.self)
        if !name.isEmpty { try resume(name) }
        try Files.unlink(suspensionNote)
    }

    /// Runs `body`, once, while a device is suspended and the file system on it frozen, if the kernel has the device.
    ///
    /// It can go with its last user at any moment, while it is suspended too.
    func suspending(_ device: String?, _ body: () throws(SystemError) -> Void) throws(SystemError) {
        guard let device, try DeviceMapper.isActive(device) else { return try body() }
        try Files.replace(suspensionNote, with: Array(device.utf8), durable: false)
        defer { _ = try? Files.unlink(suspensionNote) }
        do throws(SystemError) {
            try DeviceMapper.suspend(device)
        } catch {
            if error.errno == .noSuchAddressOrDevice { return try body() }
            throw error
        }
        do throws(SystemError) {
            try body()
        } catch {
            _ = try? DeviceMapper.resume(device)
            throw error
        }
        try resume(device)
    }

    /// Success where there is no device, or one without a table: somebody is making it anew.
    private func resume(_ device: String) throws(SystemError) {
        do throws(SystemError) {
            try DeviceMapper.resume(device)
        } catch {
            if try DeviceMapper.isActive(device) { throw error }
        }
    }

    /// Undoes the creation that the intent is of.
    private mutating func settle() throws {
        guard case .create(let layer) = intent.operation else { return }
        if layer == Self.baseLayer {
            try DeviceMapper.remove(deviceName(layer), deferred: false)
            record.baseUUID = nil
            try pool.write(record)
        }
        try delete(intent.device)
        try Files.unlink(pool.layerPath(layer))
        try forget()
    }

    /// Puts right what a power cut took of records that no sync was for: devices without a record are deleted, and so
    /// are the records of containers without a device, whose removal came to the pool and not to their directory.
    ///
    /// A number that this store never gave out is somebody else's, and then so is the pool.
    mutating func sweep(_ devices: [UInt32]) throws {
        if devices.isEmpty { return }
        try checkBase()
        var known: Set<UInt32> = [DeviceIDs.base]
        let present = Set(devices)
        for (path, record) in try records(clearing: true) {
            known.insert(record.device)
            if record.state == .writable, !present.contains(record.device) { try Files.unlink(path) }
        }
        let lost = devices.filter { !known.contains($0) }
        if !intent.hasWrapped, let foreign = lost.first(where: { $0 >= intent.nextDevice }) {
            throw StorageError(
                .corrupt,
                "use the thin pool \(name): device \(foreign) in it was not made by this store",
                remedy: "give the store a pool of its own"
            )
        }
        for device in lost { try delete(device) }
    }

    /// Refuses a pool that is at the right transaction and is another's all the same.
    private func checkBase() throws {
        guard let uuid = record.baseUUID else { return }
        let base = LayerRecord(
            device: DeviceIDs.base,
            sectors: record.baseSectors,
            state: .sealed,
            origin: DeviceIDs.base
        )
        let device = ThinDevice(Self.baseLayer, base, record, pool: device.text)
        let found = try device.fileSystemUUID(in: pool.directory)
        try device.waitUntilGone()
        if found == uuid { return }
        throw StorageError(
            .corrupt,
            "use the thin pool \(name): its base file system is \(found), and this store made \(uuid)",
            remedy: "give the store the pool that it made, or begin a new store (--root)"
        )
    }

    /// The records of all layers, removed ones too.
    ///
    /// - Parameter clearing: takes away what is no record: a power cut leaves a name without what was in it.
    private func records(clearing: Bool = false) throws -> [(path: FilePath, record: LayerRecord)] {
        var found: [(path: FilePath, record: LayerRecord)] = []
        for folder in ["layers", "trash"] {
            let path = pool.home.appending(folder)
            let directory = try Files.openDirectory(path)
            for entry in try Files.list(directory.raw) {
                let bytes = try Files.contents(entry.name, below: directory.raw, limit: 4096)
                if let record = LayerRecord(bytes) {
                    found.append((path.appending(entry.name.printable), record))
                } else if clearing {
                    try Files.unlink(entry.name, below: directory.raw)
                }
            }
        }
        return found
    }

    /// Raises the pool's transaction id, after which the intent is done.
    private mutating func close() throws {
        let next = status.transaction + 1
        try DeviceMapper.message(name, "set_transaction_id \(status.transaction) \(next)")  // commit point
        status.transaction = next
        try? noteDone()  // else the next command's
    }

    private mutating func noteDone() throws {
        intent.isDone = true
        try pool.write(intent, durable: false)
    }

    /// Ends an intent of which nothing is to be done.
    private mutating func forget() throws {
        intent = intent.followed(by: .none, device: 0, transaction: intent.transaction)
        try pool.write(intent)
    }

    /// Makes one device whole, or undoes it.
    private mutating func make(
        _ device: UInt32,
        for layer: String,
        _ body: (inout OpenPool) throws -> Void
    ) throws {
        intent = intent.followed(
            by: .create(layer: layer),
            device: device,
            transaction: status.transaction
        )
        try pool.write(intent)
        do {
            try body(&self)
            try close()
        } catch let error as NumberTaken {
            // The device is not this intent's.
            try forget()
            throw error
        } catch {
            // The first failure is the one to report; the next command settles what cannot be settled now.
            try? settle()
            throw error
        }
    }

    /// Deletes a device; absent is success.
    func delete(_ device: UInt32) throws {
        do throws(SystemError) {
            // Its name is gone before the kernel has let go of the device.
            try Retry.whileBusy { () throws(SystemError) in try DeviceMapper.message(name, "delete \(device)")
            }
        } catch {
            if error.errno != .noData { throw error }
        }
    }

    // MARK: - Devices

    static let baseLayer = "base"

    func deviceName(_ layer: String) -> String { "strata-\(record.id)-\(layer)" }

    /// Makes the device of a layer as a snapshot of another's, with its record.
    mutating func create(
        _ id: LayerID,
        from origin: (layer: LayerID?, device: UInt32),
        sectors: UInt64,
        _ state: LayerRecord.State
    ) throws
        -> LayerRecord
    {
        if record.baseUUID == nil { try makeBase() }
        let originName = origin.layer.map { deviceName($0.rawValue) }
        // Until all numbers were given out once, none from the next one on can be a layer's.
        let taken = intent.hasWrapped ? Set(try records().map(\.record.device)) : []
        for _ in 0..<Self.mostTaken {
            guard let device = DeviceIDs.free(from: intent.nextDevice, taken: taken) else { break }
            let record = LayerRecord(device: device, sectors: sectors, state: state, origin: origin.device)
            do {
                try make(device, for: id.rawValue) { pool in
                    try pool.snapshot(device, of: origin.device, named: originName)
                    try pool.pool.write(record, of: id)
                }
                return record
            } catch is NumberTaken {}
        }
        throw StorageError(
            .noSpace,
            "make a device in the thin pool \(name): no number is free from \(intent.nextDevice) on",
            remedy: "remove layers (strata system prune)"
        )
    }

    /// The pool has a device of that number, which no layer has.
    private struct NumberTaken: Error {}

    /// How many devices that are no layer's are passed over.
    static let mostTaken = 1000

    /// A device that runs is suspended for the while: what was written to it belongs to the snapshot or not, but whole.
    private func snapshot(_ device: UInt32, of origin: UInt32, named originName: String?) throws {
        do throws(SystemError) {
            try suspending(originName) { () throws(SystemError) in
                try DeviceMapper.message(name, "create_snap \(device) \(origin)")
            }
        } catch {
            if error.errno == .fileExists { throw NumberTaken() }
            throw error
        }
    }

    /// Makes device 0 with an empty file system, of which all layers without parents are snapshots.
    private mutating func makeBase() throws {
        let uuid = UUIDText.random()
        try doing("make the base device of the thin pool \(name)") {
            try make(DeviceIDs.base, for: Self.baseLayer) { pool in
                try pool.delete(DeviceIDs.base)
                try DeviceMapper.message(pool.name, "create_thin \(DeviceIDs.base)")
                let layer = LayerRecord(
                    device: DeviceIDs.base,
                    sectors: pool.record.baseSectors,
                    state: .writable,
                    origin: DeviceIDs.base
                )
                let thin = ThinDevice(Self.baseLayer, layer, pool.record, pool: pool.device.text)
                try thin.format(as: pool.record.fileSystem, uuid: uuid, in: pool.pool.directory)
                pool.record.baseUUID = uuid
                try pool.pool.write(pool.record)
            }
        }
    }
}

// MARK: - Reading the metadata

extension OpenPool {
    /// In what two devices differ now.
    ///
    /// - Parameter freezing: a device that is in use, whose file system is written out and stands still for the moment.
    func difference(
        of first: UInt32,
        and second: UInt32,
        freezing active: String?
    ) throws -> ThinMetadata.Difference {
        try writeOut(freezing: active)
        return try lastMetadata { try $0.difference(of: first, and: second) }
    }

    /// All devices in the pool.
    func devices() throws -> [UInt32] {
        try writeOut(freezing: nil)
        return try lastMetadata { try $0.devices() }
    }

    /// In what two devices differ by what the pool last wrote.
    func lastDifference(of first: UInt32, and second: UInt32) throws -> ThinMetadata.Difference {
        try lastMetadata { try $0.difference(of: first, and: second) }
    }

    /// Has the kernel write the metadata as it is now.
    private func writeOut(freezing active: String?) throws {
        try suspending(active) { () throws(SystemError) in
            _ = try DeviceMapper.status(name, flushes: true)
        }
    }

    /// Runs `body` on the metadata that the kernel last wrote, which others that use the pool make it write again.
    ///
    /// Until the superblock is written anew, nothing that it leads to is written over; so what was read while it stayed
    /// the same was there at one moment. It does not come back to what it was: it counts the pool's blocks in use, which
    /// removals make fewer, under the lock that is held. The kernel's own way for this, a metadata snapshot, is not for use:
    /// a power cut while one is taken or released leaves a superblock that names it and no count of its blocks, or the
    /// other way round, and thin_check refuses the pool.
    private func lastMetadata<T>(_ body: (ThinMetadata) throws -> T) throws -> T {
        let disk = try metadataReader()
        for _ in 0..<Self.mostReadings {
            let superblock = try ThinMetadata.superblock(of: disk)
            let result = Result { try body(try ThinMetadata(disk)) }
            if try ThinMetadata.superblock(of: disk) == superblock { return try result.get() }
            usleep(1000)
        }
        throw DiskDamage("the pool's metadata was written anew each time that it was read")
    }

    private static let mostReadings = 200

    /// The metadata as the kernel has written it.
    private func metadataReader() throws -> DiskReader {
        // What the kernel writes to a file's loop device is in the file at once; what it writes to another device goes
        // past the pages that a plain read would see.
        let flags = O_RDONLY | CLINUX_O_DIRECT
        switch record.backing {
        case .files:
            return DiskReader(SharedFD(try Files.open(pool.directory.appending("metadata"), O_RDONLY)))
        case .devices(_, let path):
            return DiskReader(SharedFD(try Files.open(path, flags)), isDirect: true)
        case .pool:
            let words = try DeviceMapper.status(name, ofTable: true)?.split(separator: " ") ?? []
            let parts = words.first?.split(separator: ":").compactMap { UInt32($0) } ?? []
            guard parts.count == 2 else {
                throw DiskDamage("the pool's table does not tell its metadata device")
            }
            let number = DeviceNumber(major: parts[0], minor: parts[1])
            return DiskReader(
                try BlockNode.with(number, in: pool.directory) { path throws(SystemError) in
                    SharedFD(try Files.open(path, flags))
                },
                isDirect: true
            )
        }
    }
}

enum UUIDText {
    /// A random UUID (version 4).
    static func random() -> String {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return text(bytes)
    }

    /// The form that people read of 16 bytes.
    static func text(_ bytes: some Sequence<UInt8>) -> String {
        let hex = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text += [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
