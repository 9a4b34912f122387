// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The two block devices under a pool of our own: given ones, or loop devices of two files.
struct PoolDevices {
    /// As a table names them.
    let data: String
    let metadata: String
    let dataSize: Int64
    let metadataSize: Int64
    /// Where the metadata is read by programs.
    let metadataPath: FilePath
    /// Keep loop devices until the pool has them.
    private let loops: [SharedFD]

    init(_ record: PoolRecord, in directory: FilePath) throws {
        switch record.backing {
        case .files:
            let paths = (directory.appending("data"), directory.appending("metadata"))
            for (path, size) in [(paths.0, record.dataSize), (paths.1, record.metadataSize)] {
                try Self.checkFile(path, atLeast: size)
            }
            let first = try LoopDevice.attach(paths.0)
            let second = try LoopDevice.attach(paths.1)
            data = first.path.string
            metadata = second.path.string
            // A file may have grown since it was attached.
            try first.takeSize()
            try second.takeSize()
            dataSize = try Self.size(ofDevice: first.fd.raw)
            metadataSize = try Self.size(ofDevice: second.fd.raw)
            metadataPath = paths.1
            loops = [SharedFD(try first.fd.duplicate()), SharedFD(try second.fd.duplicate())]
        case .devices(let dataPath, let path):
            (data, metadata) = (dataPath.string, path.string)
            dataSize = try Self.size(of: dataPath)
            metadataSize = try Self.size(of: path)
            metadataPath = path
            loops = []
        case .pool(let path):
            throw StorageError(.unsupported, "look at the parts of the thin pool \(path): it is not ours")
        }
    }

    private static func checkFile(_ path: FilePath, atLeast size: Int64) throws {
        guard let status = try Files.status(path) else {
            throw StorageError(
                .corrupt,
                "start the thin pool: its file \(path) is missing",
                remedy: "restore it from a backup, or begin a new store (--root)"
            )
        }
        guard status.kind == .regular, status.size >= size else {
            throw StorageError(
                .corrupt,
                "start the thin pool: its file \(path) has \(status.size) bytes of \(size): it was truncated",
                remedy: "restore it from a backup, or begin a new store (--root)"
            )
        }
    }

    /// The size of a block device that was given for the pool.
    static func size(of path: FilePath) throws -> Int64 {
        func refusal(_ why: String) -> StorageError {
            StorageError(
                .invalid,
                "open \(path) for the thin pool: \(why)",
                remedy: "give block devices with dm.datadev and dm.metadatadev"
            )
        }
        let device: OwnedFD
        do throws(SystemError) {
            device = try Files.open(path, O_RDONLY)
        } catch {
            throw refusal("\(error.errno)")
        }
        guard try Files.status(of: device.raw).kind == .blockDevice else {
            throw refusal("it is no block device")
        }
        return try size(ofDevice: device.raw)
    }

    private static func size(ofDevice fd: CInt) throws -> Int64 {
        var bytes: UInt64 = 0
        try system("BLKGETSIZE64") { clinux_block_size(fd, &bytes) }
        return Int64(clamping: bytes)
    }

    /// Refuses a device that has something at its start: another pool, or anything else that is not ours to overwrite.
    static func refuseUsed(_ path: FilePath) throws {
        // The last file system that shows itself is btrfs.
        let start = min(try size(of: path), 128 << 10) / PoolStatus.metadataBlock * PoolStatus.metadataBlock
        if try isEmpty(path, start) { return }
        throw StorageError(
            .invalid,
            "make a thin pool on \(path): the device is not empty",
            remedy: "clear it (dd if=/dev/zero bs=128k count=1 of=\(path)) if nothing on it is needed"
        )
    }

    /// Whether no pool was ever started with this file for its metadata, which may be missing.
    static func isUnused(_ path: FilePath) throws -> Bool {
        guard let status = try Files.status(path), status.size >= PoolStatus.metadataBlock else {
            return true
        }
        return try isEmpty(path)
    }

    /// Whether it begins with zeros; of a new pool's metadata the kernel wants one block.
    private static func isEmpty(_ path: FilePath, _ count: Int64 = PoolStatus.metadataBlock) throws -> Bool {
        try reader(path).read(at: 0, count: Int(count)).bytes.allSatisfy { $0 == 0 }
    }

    /// Reads a device past the kernel's pages, which know nothing of what a pool wrote to it.
    private static func reader(_ path: FilePath) throws -> DiskReader {
        let file = SharedFD(try Files.open(path, O_RDONLY))
        guard try Files.status(of: file.raw).kind == .blockDevice else { return DiskReader(file) }
        return DiskReader(SharedFD(try Files.open(path, O_RDONLY | CLINUX_O_DIRECT)), isDirect: true)
    }

    /// The pool as the kernel takes it; when there is no space left, writing fails at once.
    func table(_ record: PoolRecord) -> DeviceMapper.Table {
        let block = Int64(record.blockSectors)
        return DeviceMapper.Table(
            sectors: UInt64(dataSize / 512 / block * block),
            target: "thin-pool",
            parameters: "\(metadata) \(data) \(block) 0 1 error_if_no_space"
        )
    }

    /// Looks at what is there before the kernel does; the pool's metadata, `nil` of one that was never started.
    func check(_ record: PoolRecord) throws -> ThinMetadata? {
        for (name, has, size) in [
            (data, dataSize, record.dataSize), (metadata, metadataSize, record.metadataSize),
        ] where has < size {
            throw StorageError(
                .corrupt,
                "start the thin pool: \(name) has \(has) bytes and had \(size) before",
                remedy: "give back the device that it was made on"
            )
        }
        if try Self.isEmpty(metadataPath) {
            if record.baseUUID == nil { return nil }
            throw StorageError(
                .corrupt,
                "start the thin pool: its metadata in \(metadataPath) is empty",
                remedy: "restore it from a backup, or begin a new store (--root)"
            )
        }
        let program = try ExternalProgram("thin_check", package: "thin-provisioning-tools")
        // The flag keeps a pool read-only that ran out of space for metadata until somebody has looked at it: we do.
        let (code, output) = try program.run(["--clear-needs-check-flag", metadataPath.string])
        if code == 0 {
            return try ThinMetadata(Self.reader(metadataPath))
        }
        throw StorageError(
            .corrupt,
            "start the thin pool: thin_check does not accept its metadata in \(metadataPath): "
                + Self.complaints(output, code),
            remedy: "keep a copy of the file and repair it with thin_repair"
        )
    }

    /// What thin_check complains of, without what it says of its progress; with `-q` it would say neither.
    private static func complaints(_ output: String, _ code: CInt) -> String {
        let lines = output.split(separator: "\n").map { line in line.drop { $0 == " " } }
        let complaints = lines.filter { line in
            !line.isEmpty && !line.hasPrefix("examining ") && !line.hasPrefix("checking ")
                && !line.hasPrefix("TRANSACTION_ID=") && !line.hasPrefix("METADATA_FREE_BLOCKS=")
        }
        return complaints.isEmpty ? "exit code \(code)" : complaints.prefix(3).joined(separator: "; ")
    }
}
