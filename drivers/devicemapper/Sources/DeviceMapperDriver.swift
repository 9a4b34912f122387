// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
package import Storage
package import SystemPackage

/// Every layer is a thin device with a file system of its own, a snapshot of its parent's: blocks that are the same are
/// there once, and making a layer costs the same however large its parent is.
///
/// ```
/// <home>/pool/          the thin pool (`ThinPool`)
///        layers/<id>    which device a layer is (`LayerRecord`); made and changed under the pool's lock
///        trash/<name>   such records of removed layers, whose devices are to be deleted
/// ```
/// A layer's tree is the root directory of its file system. A device is with the kernel only while it is mounted.
package struct DeviceMapperDriver: StorageDriver {
    package static let name = "devicemapper"

    let home: FilePath
    let pool: ThinPool

    package var appliesOverParent: Bool { true }

    package init(home: FilePath, options: [String: String]) throws {
        self.home = home
        pool = ThinPool(home: home, options: try PoolOptions(options))
        try doing("open storage driver devicemapper at \(home)") {
            if try Files.status(home.appending("pool"))?.kind == .directory { return }
            try Files.makeDirectories(home)
            let directory = try Files.openDirectory(home)
            for name in ["trash", "layers", "pool"] { try Files.ensureDirectory(name, below: directory.raw) }
        }
    }

    /// The record of a layer; `nil` if there is none.
    func recordIfAny(_ id: LayerID) throws -> LayerRecord? {
        let path = pool.layerPath(id.rawValue)
        guard try Files.status(path) != nil else { return nil }
        guard let record = LayerRecord(try Files.contents(path, limit: 4096)) else {
            throw StorageError(
                .corrupt,
                "read \(path): it is no record of a layer",
                remedy: "remove the layer"
            )
        }
        return record
    }

    func record(_ id: LayerID) throws -> LayerRecord {
        guard let record = try recordIfAny(id) else {
            throw StorageError(
                .notFound,
                "open layer \(id): driver devicemapper has no such layer in \(home)"
            )
        }
        return record
    }

    /// The device of a layer, with its pool running.
    func device(_ id: LayerID, _ record: LayerRecord) throws -> ThinDevice {
        try pool.locked { ThinDevice(id.rawValue, record, $0.record, pool: $0.device.text) }
    }

    // MARK: - Making layers

    package func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        try doing("make layer \(id) (devicemapper)") {
            let device = try make(id, over: parents, .writable, size: options.size, space: Self.smallLayer)
            guard options.size != nil else { return }
            do {
                try device.growFileSystem(in: pool.directory)
            } catch {
                // The first failure is the one to report.
                try? remove(id)
                throw error
            }
        }
    }

    /// What is asked for before a layer is made: its journal, the tables and directories it writes first.
    private static let smallLayer: Int64 = 4 << 20

    /// Makes the device of a layer, when there is space for it.
    private func make(
        _ id: LayerID,
        over parents: LayerChain,
        _ state: LayerRecord.State,
        size: Int64? = nil,
        space: Int64
    ) throws -> ThinDevice {
        try pool.locked { pool in
            if try recordIfAny(id) != nil {
                throw StorageError(.exists, "make layer \(id): driver devicemapper has it already")
            }
            let parent = try parents.top.map { try record($0) }
            let sectors = parent?.sectors ?? pool.record.baseSectors
            let wanted = try size.map { try Self.sectors(for: $0, atLeast: sectors, id) } ?? sectors
            try pool.ensureSpace(space, "make layer \(id)")
            if let top = parents.top { try Self.passTick(of: pool.pool.layerPath(top.rawValue)) }
            let layer = try pool.create(
                id,
                from: (parents.top, parent?.device ?? DeviceIDs.base),
                sectors: wanted,
                state
            )
            return ThinDevice(id.rawValue, layer, pool.record, pool: pool.device.text)
        }
    }

    /// The sectors of a device for a layer that is limited to `size`, which includes its image.
    private static func sectors(for size: Int64, atLeast least: UInt64, _ id: LayerID) throws -> UInt64 {
        let sectors = UInt64(clamping: size) / 512 & ~127
        if sectors >= least { return sectors }
        throw StorageError(
            .unsupported,
            "limit layer \(id) to \(size) bytes: its image's file system has \(least * 512) and cannot shrink",
            remedy: "give a larger size, or make a store with a smaller dm.basesize"
        )
    }

    /// Waits until the clock of file times is past the time of a file.
    ///
    /// So nothing that is done in a layer has the change time of something that was done in its parent.
    private static func passTick(of path: FilePath) throws(SystemError) {
        guard let time = try Files.status(path)?.mtime else { return }
        var now = timespec()
        repeat {
            clock_gettime(CLOCK_REALTIME_COARSE, &now)
            if now.tv_sec != time.seconds || now.tv_nsec != Int(time.nanoseconds) { return }
            usleep(1000)
        } while true
    }

    package func apply(
        _ source: any LayerEntrySource,
        to id: LayerID,
        over parents: LayerChain?
    ) throws -> Undecided {
        let parents = try required(parents, toUnpack: source.label)
        return try doing("unpack \(source.label) (devicemapper)") {
            let device = try make(id, over: parents, .unpacking, space: Self.smallLayer)
            do {
                let undecided = try unpack(source, device)
                try device.waitUntilGone()
                return undecided
            } catch {
                // The first failure is the one to report; what stays is garbage that no row names.
                let cause = pool.cause(of: error, doing: "unpack \(source.label) (devicemapper)")
                try? remove(id)
                throw cause
            }
        }
    }

    private func unpack(_ source: any LayerEntrySource, _ device: ThinDevice) throws -> Undecided {
        let root = try device.mount(.unordered, in: pool.directory)
        let guarded = try SpaceGuard(source, device, pool, granted: Self.smallLayer)
        var applier = TreeApplier(root: root.raw, form: PlainForm(), label: source.label)
        let undecided = try applier.apply(guarded)
        // What could not be written shows here, and nowhere later.
        let opened = try Files.open(".", below: root.raw, O_RDONLY | O_DIRECTORY)
        try Files.syncFileSystem(of: opened.raw)
        return undecided
    }

    package func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws {
        try doing("seal layer \(id) (devicemapper)") {
            var record = try record(id)
            if record.state == .sealed { return }
            let device = try device(id, record)
            do throws(SystemError) {
                try device.waitUntilGone()
            } catch {
                throw error.errno == .resourceBusy ? Holders.error("seal layer \(id)", device.name) : error
            }
            record.state = .sealed
            try pool.write(record, of: id)
        }
    }

    // MARK: - Using layers

    package func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(id) (devicemapper)") {
            let record = try record(id)
            let device = try device(id, record)
            if access != .readOnly, record.state != .writable {
                throw StorageError(.invalid, "mount layer \(id) for writing: it is no writable layer")
            }
            let use: ThinDevice.Use =
                switch access {
                case .readOnly: .read
                case .readWrite: .write
                case .scratch: .unordered
                }
            return MountedLayer(root: try device.mount(use, in: pool.directory), isMount: true)
        }
    }

    /// The tree of a layer, for reading.
    func tree(_ id: LayerID) throws -> SharedFD {
        let record = try record(id)
        return SharedFD(try device(id, record).mount(.read, in: pool.directory))
    }

    package func list() throws -> [LayerID] {
        try doing("list the layers of storage driver devicemapper") {
            // A pool that cannot be started says so when it is needed.
            try? pool.startAfterBoot()
            let directory = try Files.openDirectory(home.appending("layers"))
            return try Files.list(directory.raw).compactMap {
                LayerID(String(decoding: $0.name.bytes, as: UTF8.self))
            }
        }
    }

    package func holds(_ id: LayerID) throws -> Bool {
        try doing("look for layer \(id) (devicemapper)") {
            try Files.status(home.appending("layers").appending(id.rawValue)) != nil
        }
    }

    package func sync() throws {
        try doing("write the layers in \(home) to disk") {
            let directory = try Files.openDirectory(home)
            try Files.syncFileSystem(of: directory.raw)
            guard let record = try pool.record(), DeviceMapper.isThere else { return }
            // Flushes the data device and writes the metadata.
            _ = try DeviceMapper.status(try pool.name(of: record), flushes: true)
        }
    }
}

extension DeviceMapperDriver {
    /// Makes the pool if there is none, and starts it; else the first layer does.
    package func startPool() throws { try pool.locked { _ in } }

    /// Takes the pool away from the kernel, which otherwise keeps it until the machine ends; the layers stay.
    package func stopPool() throws {
        try doing("stop the thin pool of \(home)") { try pool.stop() }
    }
}

extension DeviceMapperDriver: HomeReleasing {
    package func releaseHome() throws { try stopPool() }
}

extension DeviceMapperDriver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount { .mount }
}
