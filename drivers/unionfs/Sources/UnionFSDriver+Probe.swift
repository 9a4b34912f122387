// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import Storage
package import SystemPackage

extension UnionFSDriver {
    package static func probe(home: FilePath) -> ProbeResult {
        do {
            guard try Files.status("/dev/fuse") != nil else {
                return .unavailable(reason: "there is no /dev/fuse", remedy: "modprobe fuse")
            }
            try tryOut(below: Files.nearestDirectory(to: home))
            return .works(detail: "own FUSE file system")
        } catch let error as StorageError {
            return .unavailable(reason: error.message, remedy: error.remedy)
        } catch let error as SystemError {
            return unavailable(error)
                ?? .failed(StorageError(error, doing: "probe storage driver unionfs at \(home)"))
        } catch {
            return .failed(StorageError(.system, "probe storage driver unionfs at \(home): \(error)"))
        }
    }

    /// Mounts two layers, changes and removes what is below, and looks at the result.
    private static func tryOut(below directory: FilePath) throws {
        let scratch = directory.appending(".strata-probe-\(UInt64.random(in: 0...UInt64.max))")
        try Files.makeDirectory(scratch)
        defer { try? Files.removeTree(scratch) }
        for name in ["lower", "upper", "work"] {
            try Files.makeDirectory(scratch.appending(name), mode: 0o755)
        }
        for name in ["kept", "gone"] {
            _ = try Files.open(
                scratch.appending("lower").appending(name),
                O_WRONLY | O_CREAT | O_EXCL,
                mode: 0o644
            )
        }
        let union = UnionMount(directory: scratch, lowers: ["lower"], upper: ("upper", "work"))
        let mounted = try union.make()
        let root = try Files.open(".", below: mounted.root.raw, O_RDONLY | O_DIRECTORY)
        let file = try Files.open("kept", below: root.raw, O_WRONLY)
        try Files.writeAll([1], to: file.raw)
        try Files.unlink("gone", below: root.raw)
        guard try Files.status("gone", below: root.raw) == nil,
            try Files.status(scratch.appending("lower/kept"))?.size == 0,
            try Files.status(scratch.appending("upper/kept"))?.size == 1
        else {
            throw StorageError(.unsupported, "a union on this file system does not keep its layers apart")
        }
    }

    /// What a failed call says about the machine; `nil` if it should not have failed.
    private static func unavailable(_ error: SystemError) -> ProbeResult? {
        switch error.errno {
        case .operationNotSupportedByDevice, .noSuchFileOrDirectory:
            .unavailable(
                reason: "\(error)",
                remedy: "install strata-unionfs beside strata, and modprobe fuse"
            )
        case .notPermitted, .permissionDenied:
            .unavailable(reason: "fuse mounts are not allowed here: \(error)", remedy: "run as root")
        case .readOnlyFileSystem: .unavailable(reason: "the file system is read-only: \(error)", remedy: nil)
        default: nil
        }
    }
}
