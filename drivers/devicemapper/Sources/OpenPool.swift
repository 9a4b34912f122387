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

    /// Refuses a pool that the kernel has given up.
    func checkHealth() throws {
        guard let mode = status.mode else {
            throw StorageError(
                .corrupt,
                "use the thin pool \(name): it has failed (see the kernel's log)",
                remedy: "keep a copy of its metadata, and repair it with thin_repair"
            )
        }
        if mode == .readOnly || status.needsCheck {
            throw StorageError(
                status.usedMetadata >= status.totalMetadata * 9 / 10 ? .noSpace : .corrupt,
                "use the thin pool \(name): the kernel has made it read-only (\(status.usedMetadata) of "
                    + "\(status.totalMetadata) metadata blocks are used)",
                remedy: "stop the containers, and repair its metadata with thin_repair"
            )
        }
    }

    // MARK: - Transactions

    /// Puts right what a killed process left half done, and refuses a pool that is not the one the intent is of.
    mutating func recover() throws {
        try resumeLeftover()
        intent = try pool.readIntent()
        switch intent.standing(in: status.transaction) {
        case .foreign:
            throw StorageError(
                .corrupt,
                "use the thin pool \(name): it is at transaction \(status.transaction), and this store left it at "
                    + "\(intent.transaction)\(intent.operation == .none ? "" : " or the next")",
                remedy: "give the pool and the store of the same moment, or begin a new store (--root)"
            )
        case .closed:
            // What a deletion does last.
            if case .delete(let trash) = intent.operation { try unlinkTrash(trash) }
        case .open: try settle()
        }
    }

    /// Where it stands which device is suspended: whoever does that and is killed leaves others waiting for it.
    private var suspensionNote: FilePath { pool.directory.appending("suspended") }

    private func resumeLeftover() throws {
        guard try Files.status(suspensionNote) != nil else { return }
        let name = String(decoding: try Files.contents(suspensionNote, limit: 256), as: UTF8.self)
        if !name.isEmpty, try DeviceMapper.info(name) != nil { try DeviceMapper.resume(name) }
        try Files.unlink(suspensionNote)
    }

    /// Runs `body` while a device is suspended and the file system on it frozen.
    func suspended(_ device: String, _ body: () throws(SystemError) -> Void) throws(SystemError) {
        try Files.replace(suspensionNote, with: Array(device.utf8), durable: false)
        defer { _ = try? Files.unlink(suspensionNote) }
        try DeviceMapper.suspend(device)
        do throws(SystemError) {
            try body()
        } catch {
            _ = try? DeviceMapper.resume(device)
            throw error
        }
        try DeviceMapper.resume(device)
    }

    private mutating func settle() throws {
        switch intent.operation {
        case .none: return
        case .create(let layer):
            if layer == Self.baseLayer {
                try DeviceMapper.remove(deviceName(layer), deferred: false)
                record.baseUUID = nil
                try pool.write(record)
            }
            try delete(intent.device)
            try Files.unlink(pool.layerPath(layer))
            intent = Intent(transaction: intent.transaction, nextDevice: intent.nextDevice)
            try pool.write(intent)
        case .delete(let trash):
            try delete(intent.device)
            try close()
            try unlinkTrash(trash)
        }
    }

    /// Deletes devices without a record, which a power cut took: records of layers that no sync was for.
    ///
    /// A number that this store never gave out is somebody else's, and then so is the pool.
    mutating func sweep(_ devices: [UInt32]) throws {
        if devices.isEmpty { return }
        var known: Set<UInt32> = [DeviceIDs.base]
        for folder in ["layers", "trash"] {
            let directory = try Files.openDirectory(pool.home.appending(folder))
            for entry in try Files.list(directory.raw) {
                let bytes = try Files.contents(entry.name, below: directory.raw, limit: 4096)
                if let record = LayerRecord(bytes) {
                    known.insert(record.device)
                } else {
                    // A power cut left the name and not what was in it.
                    try Files.unlink(entry.name, below: directory.raw)
                }
            }
        }
        let lost = devices.filter { !known.contains($0) }
        if let foreign = lost.first(where: { $0 >= intent.nextDevice }) {
            throw StorageError(
                .corrupt,
                "use the thin pool \(name): device \(foreign) in it was not made by this store",
                remedy: "give the store a pool of its own"
            )
        }
        for device in lost {
            try transact(.delete(trash: "lost.\(device)"), device: device) { try $0.delete(device) }
        }
    }

    private func unlinkTrash(_ name: String) throws { try Files.unlink(pool.home.appending("trash/\(name)")) }

    /// Raises the pool's transaction id, after which the intent is done.
    private mutating func close() throws {
        let next = status.transaction + 1
        try DeviceMapper.message(name, "set_transaction_id \(status.transaction) \(next)")  // commit point
        status.transaction = next
    }

    /// Runs one operation whole, or undoes it.
    private mutating func transact(
        _ operation: Intent.Operation,
        device: UInt32,
        _ body: (inout OpenPool) throws -> Void
    ) throws {
        var next = intent.nextDevice
        if case .create = operation, device != DeviceIDs.base { next = DeviceIDs.next(after: device) }
        intent = Intent(
            transaction: status.transaction,
            operation: operation,
            device: device,
            nextDevice: next
        )
        try pool.write(intent)
        do {
            try body(&self)
            try close()
        } catch {
            // The first failure is the one to report; the next command settles what cannot be settled now.
            if case .create = operation { try? settle() }
            throw error
        }
    }

    /// Deletes a device; absent is success.
    private func delete(_ device: UInt32) throws {
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
        var device = intent.nextDevice
        var tries = 0
        while true {
            let record = LayerRecord(device: device, sectors: sectors, state: state, origin: origin.device)
            do {
                try transact(.create(layer: id.rawValue), device: device) { pool in
                    try pool.snapshot(device, of: origin.device, named: originName)
                    try Files.replace(pool.pool.layerPath(id.rawValue), with: record.bytes, durable: false)
                }
                return record
            } catch let error as SystemError where error.errno == .fileExists {
                // The number is taken; so many may be, by layers of an earlier round through all numbers.
                tries += 1
                if tries > 1 + (try knownDevices()) {
                    throw StorageError(
                        .noSpace,
                        "make a device in the thin pool \(name): no number below \(DeviceIDs.last) is free",
                        remedy: "remove layers (strata system prune)"
                    )
                }
                device = DeviceIDs.next(after: device)
            }
        }
    }

    private func knownDevices() throws -> Int {
        var count = 0
        for folder in ["layers", "trash"] {
            let directory = try Files.openDirectory(pool.home.appending(folder))
            count += try Files.list(directory.raw).count
        }
        return count
    }

    /// A device that runs is suspended for the while: what was written to it belongs to the snapshot or not, but whole.
    private func snapshot(_ device: UInt32, of origin: UInt32, named originName: String?) throws(SystemError)
    {
        let text = "create_snap \(device) \(origin)"
        if let originName, try DeviceMapper.info(originName) != nil {
            do throws(SystemError) {
                return try suspended(originName) { () throws(SystemError) in
                    try DeviceMapper.message(name, text)
                }
            } catch {
                // It went while we looked at it.
                if error.errno != .noSuchAddressOrDevice { throw error }
            }
        }
        try DeviceMapper.message(name, text)
    }

    /// Deletes the device of a removed layer, and its record in the trash.
    mutating func delete(_ layer: LayerRecord, trash: String) throws {
        try transact(.delete(trash: trash), device: layer.device) { pool in
            try pool.delete(layer.device)
        }
        try unlinkTrash(trash)
    }

    /// Makes device 0 with an empty file system, of which all layers without parents are snapshots.
    private mutating func makeBase() throws {
        let uuid = UUIDText.random()
        try doing("make the base device of the thin pool \(name)") {
            try transact(.create(layer: Self.baseLayer), device: DeviceIDs.base) { pool in
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
    mutating func difference(
        of first: UInt32,
        and second: UInt32,
        freezing active: String?
    ) throws -> ThinMetadata.Difference {
        // Somebody who held it was killed.
        if status.heldRoot != nil { try DeviceMapper.message(name, "release_metadata_snap") }
        if let active, try DeviceMapper.info(active) != nil {
            try suspended(active) { () throws(SystemError) in
                try DeviceMapper.message(name, "reserve_metadata_snap")
            }
        } else {
            try DeviceMapper.message(name, "reserve_metadata_snap")
        }
        defer { _ = try? DeviceMapper.message(name, "release_metadata_snap") }
        guard let root = try DeviceMapper.status(name).flatMap(PoolStatus.init)?.heldRoot else {
            throw DiskDamage("the pool gives no snapshot of its metadata")
        }
        return try ThinMetadata(try metadataReader(), heldRoot: root).difference(of: first, and: second)
    }

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
        let hex = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text += [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
