// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Overlay
package import Storage
import Synchronization
package import SystemPackage

extension Overlay2Driver {
    package static func probe(home: FilePath) -> ProbeResult {
        guard geteuid() == 0 else {
            return .unavailable(reason: "mounting an overlay needs root", remedy: "run as root, or use vfs")
        }
        do {
            let probe = try withScratch(below: Files.nearestDirectory(to: home)) { try OverlayProbe(in: $0) }
            let how = probe.method == .descriptors ? "layers by descriptor" : "layers by name"
            return .works(detail: probe.escapes ? how : "\(how); attributes user.overlay.* are refused")
        } catch let error as StorageError {
            return .unavailable(reason: error.message, remedy: error.remedy)
        } catch let error as SystemError {
            return unavailable(error)
                ?? .failed(StorageError(error, doing: "probe storage driver overlay2 at \(home)"))
        } catch {
            return .failed(StorageError(.system, "probe storage driver overlay2 at \(home): \(error)"))
        }
    }

    /// What a failed call says about the machine; `nil` if it should not have failed.
    private static func unavailable(_ error: SystemError) -> ProbeResult? {
        switch error.errno {
        case .operationNotSupportedByDevice:
            .unavailable(reason: "the kernel has no overlay file system", remedy: "modprobe overlay")
        case .notPermitted, .permissionDenied:
            .unavailable(
                reason: "overlay mounts are not allowed here: \(error)",
                remedy: "run with CAP_SYS_ADMIN"
            )
        case .notSupported, .invalidArgument, .noFunction, .tooManySymbolicLinkLevels,
            .improperLink:
            .unavailable(
                reason: "the file system does not serve overlay mounts: \(error)",
                remedy: "put the store on ext4, xfs (ftype=1) or btrfs"
            )
        case .readOnlyFileSystem:
            .unavailable(reason: "the file system is read-only: \(error)", remedy: nil)
        default: nil
        }
    }

    /// Gives `body` a fresh directory below `directory` and removes it.
    static func withScratch<T>(below directory: FilePath, _ body: (FilePath) throws -> T) throws -> T {
        let path = directory.appending(".strata-probe-\(UInt64.random(in: 0...UInt64.max))")
        try Files.makeDirectory(path)
        defer { try? Files.removeTree(path) }
        return try body(path)
    }
}

/// What only a mount tells of the kernel; found out when first asked for.
final class KernelFacts: Sendable {
    private let home: FilePath
    private let found = Mutex<Bool?>(nil)

    init(home: FilePath) { self.home = home }

    /// Whether overlay mounts show `user.overlay.overlay.x` as `user.overlay.x`.
    func escapes() throws -> Bool {
        try found.withLock { found in
            if let found { return found }
            // What a crash leaves in the trash goes with it.
            let escapes = try Overlay2Driver.withScratch(below: home.appending("trash")) {
                try OverlayProbe(in: $0).escapes
            }
            found = escapes
            return escapes
        }
    }
}
