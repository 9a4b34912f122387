// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The thin pool of a store, with what is done to it under its lock.
///
/// ```
/// <home>/pool/lock        held while the pool is opened and changed
///             record      what the pool is (`PoolRecord`)
///             intent      what is being done (`Intent`)
///             data        the pool's blocks, where it stands on files
///             metadata    which device has which of them
/// ```
/// The pool stays with the kernel when a command ends; after a reboot the first command brings it back.
final class ThinPool: Sendable {
    let home: FilePath
    let options: PoolOptions

    init(home: FilePath, options: PoolOptions) {
        self.home = home
        self.options = options
    }

    var directory: FilePath { home.appending("pool") }
    func layerPath(_ id: String) -> FilePath { home.appending("layers/\(id)") }

    private final class Held {
        let lock: FileLock
        init(_ lock: consuming FileLock) { self.lock = lock }
    }

    /// Runs `body` on the pool while nobody else changes it.
    ///
    /// The pool is made if there is none, and started if it is not running; what a killed process left is put right.
    func locked<T>(_ body: (inout OpenPool) throws -> T) throws -> T {
        guard let lock = try FileLock.acquire(directory.appending("lock"), .exclusive) else {
            throw StorageError(.system, "lock \(directory): flock did not wait")
        }
        let held = Held(lock)
        defer { withExtendedLifetime(held) {} }
        var pool = try open()
        return try body(&pool)
    }

    /// The pool if it has been made, without starting it.
    func record() throws -> PoolRecord? {
        let path = directory.appending("record")
        guard try Files.status(path) != nil else { return nil }
        guard let record = PoolRecord(try Files.contents(path, limit: 4096)) else {
            throw StorageError(
                .corrupt,
                "read \(path): it is no record of a thin pool",
                remedy: "restore it from a backup, or begin a new store (--root)"
            )
        }
        return record
    }

    func write(_ record: PoolRecord) throws {
        try Files.replace(directory.appending("record"), with: record.bytes)
    }

    func write(_ record: LayerRecord, of id: LayerID) throws(SystemError) {
        try Files.replace(layerPath(id.rawValue), with: record.bytes, durable: false, temporaryIn: directory)
    }

    /// Removes what killed processes left beside the pool's files: temporaries and device nodes, which nobody needs for
    /// as long as an hour.
    func clearLeftovers() throws {
        let now = Timestamp.now.seconds
        let opened = try Files.openDirectory(directory)
        for entry in try Files.list(opened.raw) where entry.name.bytes.first == UInt8(ascii: ".") {
            guard let status = try Files.status(entry.name, below: opened.raw),
                status.mtime.seconds < now - 3600
            else { continue }
            try Files.unlink(entry.name, below: opened.raw)
        }
    }

    private func open() throws -> OpenPool {
        let record = try record() ?? make()
        try record.check(options)
        let name = try name(of: record)
        var present = try DeviceMapper.look(name)
        var found: [UInt32] = []
        if try present == nil || takeAwayIfGivenUp(record, name, present?.parameters) {
            found = try start(record)
            present = try DeviceMapper.look(name)
        }
        guard let present, let status = PoolStatus(present.parameters) else {
            throw StorageError(
                .corrupt,
                "open the thin pool \(name): it is no thin pool: \(present?.parameters ?? "gone")"
            )
        }
        var pool = OpenPool(pool: self, record: record, name: name, device: present.device, status: status)
        if let failure = status.failure(name, record.backing) { throw failure }
        try pool.recover()
        if case .pool = record.backing, try !isSeenSinceBoot() {
            found = try pool.devices()
            try pool.sweep(found)
            try Files.replace(bootNote, with: try bootID(), durable: false)
        } else {
            try pool.sweep(found)
        }
        return pool
    }

    /// Takes a pool that the kernel has given up away from it, if nobody uses it: its start checks it, and mends what can
    /// be mended.
    private func takeAwayIfGivenUp(_ record: PoolRecord, _ name: String, _ line: String?) throws -> Bool {
        if case .pool = record.backing { return false }
        guard let status = line.flatMap(PoolStatus.init), status.isGivenUp else { return false }
        do throws(SystemError) {
            // The device of an unpack that ran into it may be about to go.
            try Retry.whileBusy(milliseconds: 300) { () throws(SystemError) in
                try DeviceMapper.remove(name, deferred: false)
            }
            return true
        } catch {
            if error.errno == .resourceBusy { return false }
            throw error
        }
    }

    /// What the pool says of a failure to write to it: where it has no space, the kernel gives an error of input and output.
    func cause(of failure: any Error, doing what: String) -> any Error {
        let code = (failure as? StorageError)?.code ?? (failure is SystemError ? .system : .invalid)
        guard code == .system || code == .permission,
            let record = try? record(), let name = try? name(of: record),
            let status = try? DeviceMapper.status(name).flatMap(PoolStatus.init),
            let full = status.fullness(name, record.backing)
        else { return failure }
        return StorageError(full.code, "\(what): \(full.message)", remedy: full.remedy)
    }

    /// Starts the pool if it was not since the machine was, so that its records are right.
    func startAfterBoot() throws {
        guard let record = try record(), DeviceMapper.isThere else { return }
        if try Files.status(FilePath("/dev/mapper/\(name(of: record))")) == nil { try locked { _ in } }
    }

    /// In which run of the machine somebody else's pool was last looked at; one of our own is started then.
    private var bootNote: FilePath { directory.appending("boot") }
    private func bootID() throws -> [UInt8] {
        try Files.contents("/proc/sys/kernel/random/boot_id", limit: 64)
    }

    private func isSeenSinceBoot() throws -> Bool {
        try Files.status(bootNote) != nil && Files.contents(bootNote, limit: 64) == bootID()
    }

    /// The name that device-mapper has for the pool.
    func name(of record: PoolRecord) throws -> String {
        guard case .pool(let path) = record.backing else { return "strata-\(record.id)-pool" }
        let resolved: OwnedFD
        do throws(SystemError) {
            resolved = try Files.open(path, CLINUX_O_PATH)
        } catch {
            throw StorageError(
                .notFound,
                "open the thin pool \(path): \(error.errno)",
                remedy: "start it as you do after a boot, or give the path of another with dm.thinpooldev",
                errno: error.errno
            )
        }
        let number = try Files.status(of: resolved.raw).rdev
        let file = "/sys/dev/block/\(number.major):\(number.minor)/dm/name"
        guard let bytes = try? Files.contents(file, limit: 256) else {
            throw StorageError(
                .invalid,
                "open the thin pool \(path): it is no device of device-mapper",
                remedy: "give the path of a thin pool with dm.thinpooldev, or leave it out"
            )
        }
        return String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
    }

    // MARK: - Making and starting

    private func requireLibrary() throws(StorageError) {
        guard let why = DeviceMapper.missing else { return }
        throw StorageError(
            .unsupported,
            "start the thin pool of \(home): libdevmapper cannot be loaded: \(why)",
            remedy: "install the package libdevmapper1.02.1"
        )
    }

    /// Settles what the pool is going to be; nothing is on disk but two empty files.
    private func make() throws -> PoolRecord {
        try refuseLost()
        try requireLibrary()
        let sizes = PoolSizes(options, disk: Int64(clamping: try Files.space(at: directory).total))
        var record = PoolRecord(
            id: LayerID.random().rawValue,
            backing: options.backing,
            blockSectors: sizes.blockSectors,
            dataSize: sizes.data,
            metadataSize: sizes.metadata,
            fileSystem: options.fileSystem ?? .ext4,
            baseSectors: sizes.baseSectors
        )
        switch options.backing {
        case .files:
            for (file, size) in [("data", sizes.data), ("metadata", sizes.metadata)] {
                let path = directory.appending(file)
                try Files.unlink(path)
                let made = try Files.open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
                try system("truncate", path.string) { ftruncate(made.raw, off_t(size)) }
                // On a full disk a pool that cannot write its metadata could not delete layers either. It takes its first
                // free blocks first; where the file system cannot keep space, nothing is lost by asking.
                if file == "metadata" {
                    _ = clinux_fallocate(made.raw, 0, 0, min(size, PoolSizes.keptMetadata))
                }
            }
        case .devices(let data, let metadata):
            for device in [data, metadata] { try PoolDevices.refuseUsed(device) }
            record.dataSize = try PoolDevices.size(of: data)
            record.metadataSize = try PoolDevices.size(of: metadata)
        case .pool: try adopt(&record)
        }
        try write(Intent(transaction: 0), isNew: true)
        try write(record)  // commit point: from here on there is a pool
        return record
    }

    /// Refuses to make a pool where there was one, whose layers would be gone.
    func refuseLost() throws {
        let layers = try Files.openDirectory(home.appending("layers"))
        let metadata = directory.appending("metadata")
        if try Files.list(layers.raw).isEmpty, try PoolDevices.isUnused(metadata) { return }
        throw StorageError(
            .corrupt,
            "read \(directory.appending("record")): it is missing, and the thin pool has been used",
            remedy: "restore it from a backup, or begin a new store (--root)"
        )
    }

    /// Takes over a pool that somebody else made, if nothing is in it.
    private func adopt(_ record: inout PoolRecord) throws {
        let name = try name(of: record)
        guard let table = try DeviceMapper.status(name, ofTable: true),
            let status = try DeviceMapper.status(name).flatMap(PoolStatus.init)
        else {
            throw StorageError(.invalid, "open the thin pool \(name): it is no thin pool that works")
        }
        guard status.transaction == 0, status.usedData == 0 else {
            throw StorageError(
                .invalid,
                "use the thin pool \(name): it is not this store's and not empty (transaction "
                    + "\(status.transaction), \(status.usedData) blocks used)",
                remedy: "give a pool of its own with dm.thinpooldev"
            )
        }
        if status.waitsWhenFull {
            throw StorageError(
                .invalid,
                "use the thin pool \(name): when it is full, whoever writes has to wait instead of getting an error",
                remedy: "give it the feature error_if_no_space (LVM: lvchange --errorwhenfull y)"
            )
        }
        let words = table.split(separator: " ")
        guard words.count >= 3, let block = UInt64(words[2]), block > 0 else {
            throw StorageError(.invalid, "open the thin pool \(name): its table is \(table)")
        }
        record.blockSectors = block
        record.dataSize = status.totalData * Int64(block) * 512
        record.metadataSize = status.totalMetadata * PoolStatus.metadataBlock
    }

    /// Gives the pool to the kernel, once its parts have been checked; the devices in it.
    private func start(_ record: PoolRecord) throws -> [UInt32] {
        let name = try name(of: record)
        try requireLibrary()
        if case .pool(let path) = record.backing {
            throw StorageError(
                .notFound,
                "open the thin pool \(path): it is not running",
                remedy: "start it as you do after a boot"
            )
        }
        let devices = try PoolDevices(record, in: directory)
        let metadata = try devices.check(record)
        if let metadata { try readIntent().check(metadata.transaction, name) }
        let found = try metadata?.devices() ?? []
        try doing("start the thin pool \(name)") {
            // Until then our descriptors keep the loop devices.
            try withExtendedLifetime(devices) {
                let (uuid, table) = ("STRATA-\(record.id)-pool", devices.table(record))
                _ = try DeviceMapper.create(name, uuid: uuid, table, withNode: true)
            }
        }
        return found
    }

    // MARK: - Intent

    func readIntent() throws -> Intent {
        let path = directory.appending("intent")
        let bytes = try Files.status(path).map { _ in try Files.contents(path, limit: Intent.size) }
        guard let intent = bytes.flatMap(Intent.init) else {
            let what = bytes == nil ? "missing" : "not what this version of strata wrote there"
            throw StorageError(
                .corrupt,
                "read \(path): it is \(what)",
                remedy: "restore the store from a backup, or begin a new one (--root)"
            )
        }
        return intent
    }

    /// Writes the intent: one sector in place, which a disk writes whole or not at all.
    ///
    /// - Parameter durable: returns when it is on disk.
    func write(_ intent: Intent, isNew: Bool = false, durable: Bool = true) throws {
        let path = directory.appending("intent")
        if isNew { return try Files.replace(path, with: intent.bytes) }
        let file = try Files.open(path, O_WRONLY | O_NOFOLLOW | (durable ? O_DSYNC : 0))
        try Files.writeAll(intent.bytes, to: file.raw)
    }
}

extension ThinPool {
    /// Takes the pool away from the kernel, if nobody uses it; the next command brings it back.
    func stop() throws {
        guard let record = try record(), DeviceMapper.isThere else { return }
        if case .pool = record.backing { return }
        let name = try name(of: record)
        try Retry.whileBusy { () throws(SystemError) in try DeviceMapper.remove(name, deferred: false) }
    }
}

/// Waiting for a device's last user, whom the kernel may take a moment to let go.
enum Retry {
    static func whileBusy<T>(
        milliseconds: Int = 2000,
        _ body: () throws(SystemError) -> T
    ) throws(SystemError) -> T {
        var waited = 0
        while true {
            do throws(SystemError) {
                return try body()
            } catch {
                guard error.errno == .resourceBusy, waited < milliseconds else { throw error }
                usleep(useconds_t(min(20, 1 + waited / 8) * 1000))
                waited += min(20, 1 + waited / 8)
            }
        }
    }
}
