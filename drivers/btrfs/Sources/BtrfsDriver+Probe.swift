// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
package import SystemPackage

extension BtrfsDriver {
    /// Makes a subvolume and a snapshot, searches it, and deletes both; a volume is only mounted.
    package static func probe(home: FilePath) -> ProbeResult {
        guard geteuid() == 0 else {
            return .unavailable(
                reason: "searching the trees of btrfs needs root",
                remedy: "run as root, or use vfs"
            )
        }
        do {
            if try Volume.exists(in: home) {
                _ = try Volume(in: home, size: nil)
                return .works(detail: "a btrfs in \(home.appending("volume"))")
            }
            try checkFileSystem(of: home)
            let base = try Files.openDirectory(Files.nearestDirectory(to: home))
            try tryOut(in: base.raw)
            return .works(detail: "snapshots")
        } catch let error as StorageError {
            return .unavailable(reason: error.message, remedy: error.remedy)
        } catch let error as SystemError {
            switch error.errno {
            case .readOnlyFileSystem, .notPermitted, .permissionDenied, .noSpace:
                return .unavailable(reason: "a subvolume cannot be made at \(home): \(error)", remedy: nil)
            case Errno(rawValue: ENOTTY), .notSupported, .invalidArgument:
                return .unavailable(
                    reason: "the kernel lacks a call of btrfs: \(error)",
                    remedy: "use Linux 6.1 or later"
                )
            default: return .failed(StorageError(error, doing: "probe storage driver btrfs at \(home)"))
            }
        } catch {
            return .failed(StorageError(.system, "probe storage driver btrfs at \(home): \(error)"))
        }
    }

    private static func tryOut(in directory: CInt) throws(SystemError) {
        let name = ".strata-probe-\(UInt64.random(in: 0...UInt64.max))"
        try Subvolume.create(name, below: directory)
        defer { try? Subvolume.delete(name, below: directory) }
        let subvolume = try Subvolume.open(name, below: directory)
        _ = try Files.open("file", below: subvolume.raw, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        try Subvolume.snapshot(subvolume.raw, as: "snapshot", below: subvolume.raw, readOnly: true)
        let snapshot = try Subvolume.open("snapshot", below: subvolume.raw)
        let status = try Files.status("file", below: snapshot.raw)
        let names = try InodeNames(in: snapshot.raw).names(of: status?.inode ?? 0)
        if names.map(\.name) != ["file"] { throw SystemError("search a snapshot", nil, .ioError) }
    }

    /// Refuses a home that is not on btrfs.
    static func checkFileSystem(of home: FilePath) throws {
        let place = try Files.nearestDirectory(to: home)
        let directory = try Files.open(place, O_RDONLY | O_DIRECTORY)
        let type = try Files.fileSystemType(directory.raw)
        if type == "btrfs" { return }
        if place == home, try Files.status(home.appending("layers")) != nil {
            throw StorageError(
                .unsupported,
                "\(home) has layers of storage driver btrfs, but lies on \(type) now",
                remedy: "move the store back to btrfs, or remove \(home), load its images again and run"
                    + " strata system check --repair"
            )
        }
        throw StorageError(
            .unsupported,
            "the file system of \(place) is \(type), not btrfs",
            remedy: "put the store on btrfs, or say --storage-opt \(Volume.option)=20g for a btrfs in a file"
        )
    }
}
