// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// The device of one layer, which the kernel has only while somebody uses it: whoever mounts it asks for its removal at
/// once, deferred, and it goes with the last mount however that ends.
struct ThinDevice: Sendable {
    let name: String
    let uuid: String
    let table: DeviceMapper.Table
    let fileSystem: LayerFileSystem

    init(_ layer: String, _ record: LayerRecord, _ pool: PoolRecord, pool number: String) {
        name = "strata-\(pool.id)-\(layer)"
        uuid = "STRATA-\(pool.id)-\(layer)-\(record.device)"
        table = DeviceMapper.Table(
            sectors: record.sectors,
            target: "thin",
            parameters: "\(number) \(record.device)",
            isReadOnly: record.state == .sealed
        )
        fileSystem = pool.fileSystem
    }

    /// How a layer is mounted.
    enum Use {
        case read
        case write
        /// Before a sync of the whole pool, or for what need not last: nothing is ordered or flushed meanwhile.
        case unordered
    }

    /// A detached mount of the file system.
    func mount(_ use: Use, in directory: FilePath) throws(SystemError) -> OwnedFD {
        var waited = 0
        while true {
            do throws(SystemError) {
                return try mountOnce(use, in: directory)
            } catch {
                // The device went with its last user while we looked at it, or is about to go.
                let isGoing: [Errno] = [
                    .noSuchAddressOrDevice, .operationNotSupportedByDevice, .noSuchFileOrDirectory,
                    .resourceBusy,
                ]
                guard isGoing.contains(error.errno), waited < 2000 else { throw error }
                usleep(5000)
                waited += 5
            }
        }
    }

    private func mountOnce(_ use: Use, in directory: FilePath) throws(SystemError) -> OwnedFD {
        let device = try activate()
        defer { _ = try? DeviceMapper.remove(name, deferred: true) }
        if device.isReadOnly != table.isReadOnly {
            throw SystemError("activate", name, .resourceBusy)
        }
        // A superblock is shared by all mounts of its device, so all must agree on writing.
        var parameters: [DetachedMount.Parameter] = []
        if table.isReadOnly { parameters.append(.flag("ro")) }
        switch fileSystem {
        case .ext4:
            // Else a thread of the kernel would fill every snapshot with zeroed inode tables.
            parameters.append(.flag("noinit_itable"))
            if use == .unordered { parameters += [.string("barrier", "0"), .string("data", "writeback")] }
        case .xfs: parameters.append(.flag("nouuid"))
        }
        var attributes: DetachedMount.Attributes = .noAccessTime
        if use == .read { attributes.insert(.readOnly) }
        return try BlockNode.with(device.number, in: directory) { path throws(SystemError) in
            let source = DetachedMount.Parameter.string("source", path.string)
            return try DetachedMount.make(fileSystem.rawValue, [source] + parameters, attributes: attributes)
        }
    }

    /// The device, made if the kernel does not have it.
    func activate() throws(SystemError) -> DeviceMapper.Device {
        if let made = try DeviceMapper.create(name, uuid: uuid, table) { return made }
        guard let present = try DeviceMapper.info(name) else {
            throw SystemError("activate", name, .noSuchAddressOrDevice)
        }
        if present.hasTable { return present }
        // Who made it was killed before it had a table, or will try again.
        _ = try? DeviceMapper.remove(name, deferred: false)
        throw SystemError("activate", name, .resourceBusy)
    }

    /// As `activate`, where nobody else makes the device.
    private func activateAlone() throws(SystemError) -> DeviceMapper.Device {
        try Retry.whileBusy { () throws(SystemError) in try activate() }
    }

    /// Makes an empty file system on the device.
    func format(as type: LayerFileSystem, uuid: String, in directory: FilePath) throws {
        let maker = try FileSystemMaker(type, uuid: uuid, sectors: table.sectors)
        let device = try activateAlone()
        do {
            let (code, output) = try BlockNode.with(device.number, in: directory) {
                path throws(SystemError) in
                try maker.program.run(maker.arguments + [path.string])
            }
            if code != 0 {
                let text = output.split(separator: "\n").suffix(2).joined(separator: "; ")
                throw StorageError(
                    .system,
                    "make an \(type.rawValue) file system on \(name): \(maker.program.path) ended with exit code \(code): \(text)"
                )
            }
            // One mount at a time of the device: it is waited for.
            let root = try mount(.unordered, in: directory)
            if type == .ext4 { try Files.removeTree("lost+found", below: root.raw) }
            try TreeCopier.makeEmptyRoot(root.raw)
        } catch {
            _ = try? DeviceMapper.remove(name, deferred: true)
            throw error
        }
        try waitUntilGone()
    }

    /// Gives the file system the size of the device, which is larger than its parent's.
    func growFileSystem(in directory: FilePath) throws(SystemError) {
        let mounted = try mount(.write, in: directory)
        let root = try Files.open(".", below: mounted.raw, O_RDONLY | O_DIRECTORY)
        let blocks = table.sectors / 8
        switch fileSystem {
        case .ext4: try system("resize ext4 on", name) { clinux_ext4_resize(root.raw, blocks) }
        case .xfs: try system("grow xfs on", name) { clinux_xfs_grow(root.raw, blocks) }
        }
    }

    /// Gives back what of these ranges of bytes no other device has, so that a file below the pool shrinks.
    func discard(_ ranges: [Range<UInt64>], in directory: FilePath) throws(SystemError) {
        if ranges.isEmpty { return }
        guard let device = try DeviceMapper.create(name, uuid: uuid, table.writable) else {
            throw SystemError("discard", name, .resourceBusy)
        }
        defer { _ = try? DeviceMapper.remove(name, deferred: true) }
        try BlockNode.with(device.number, in: directory) { path throws(SystemError) in
            let file = try Files.open(path, O_RDWR)
            for range in ranges {
                let (start, count) = (range.lowerBound, UInt64(range.count))
                try system("discard", name) { clinux_block_discard(file.raw, start, count) }
            }
        }
    }

    /// The identifier of the file system on the device.
    func fileSystemUUID(in directory: FilePath) throws -> String {
        let device = try activateAlone()
        defer { _ = try? DeviceMapper.remove(name, deferred: true) }
        let bytes = try BlockNode.with(device.number, in: directory) { path throws(SystemError) in
            SharedFD(try Files.open(path, O_RDONLY))
        }
        let block = try DiskReader(bytes).read(at: 0, count: 4096)
        return UUIDText.text(block.slice(fileSystem == .ext4 ? 1024 + 0x68 : 32, 16))
    }

    /// Waits for the last user of the device.
    func waitUntilGone(milliseconds: Int = 2000) throws(SystemError) {
        try Retry.whileBusy(milliseconds: milliseconds) { () throws(SystemError) in
            try DeviceMapper.remove(name, deferred: false)
        }
    }
}

/// The program that makes the file system of a base device.
struct FileSystemMaker {
    let program: ExternalProgram
    /// All but the device.
    let arguments: [String]

    init(_ type: LayerFileSystem, uuid: String, sectors: UInt64) throws {
        switch type {
        case .ext4:
            program = try ExternalProgram("mkfs.ext4", package: "e2fsprogs")
            arguments = Self.ext4Arguments(uuid: uuid, sectors: sectors)
        case .xfs:
            program = try ExternalProgram("mkfs.xfs", package: "xfsprogs")
            arguments = ["-q", "-f", "-K", "-m", "uuid=\(uuid)"]
        }
    }

    /// Inode tables and journal are left as they are, since a thin device reads as zeros where nothing was written; the
    /// features are stated, because the reader of changed blocks knows these.
    static func ext4Arguments(uuid: String, sectors: UInt64) -> [String] {
        let features = [
            "none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit",
            "flex_bg",
            "sparse_super",
            "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum",
        ]
        return [
            "-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-U", uuid, "-e", "remount-ro", "-J",
            "size=\(journalMegabytes(sectors: sectors))",
            "-O", features.joined(separator: ","),
            "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
        ]
    }

    /// Each layer that writes has its own copy of the part of the journal that it used, so it is small.
    static func journalMegabytes(sectors: UInt64) -> UInt64 { min(32, max(4, sectors / 2048 / 128)) }
}
