// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

/// flock(2) on a lock file.
///
/// The lock belongs to the descriptor: a killed process releases it, a holder can pass it on.
package struct FileLock: ~Copyable, Sendable {
    package enum Mode: Sendable {
        case shared
        case exclusive
    }

    package let fd: OwnedFD

    /// For a descriptor that came locked from another process.
    package init(adopting fd: consuming OwnedFD) { self.fd = fd }

    /// The locked descriptor, for a holder of another kind.
    package consuming func descriptor() -> OwnedFD { fd }

    /// Locks `path`, making the file if it is missing.
    ///
    /// A lock file goes with its thing, so after locking it is checked that the name still leads to the
    /// locked file, and otherwise tried again.
    ///
    /// - Returns: `nil` if `wait` is false and somebody holds it.
    package static func acquire(
        _ path: FilePath,
        _ mode: Mode,
        wait: Bool = true
    ) throws(SystemError) -> FileLock? {
        while true {
            let file = try open(path)
            let operation = (mode == .shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB)
            let taken = try systemAnswer("flock", path.printable, expecting: .wouldBlock) {
                clinux_flock(file.raw, operation)
            }
            if taken == nil { return nil }
            let held = try Files.status(of: file.raw)
            if let named = try Files.status(path), named.inode == held.inode, named.device == held.device {
                return FileLock(adopting: file)
            }
        }
    }

    private static func open(_ path: FilePath) throws(SystemError) -> OwnedFD {
        do throws(SystemError) {
            return try Files.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
        } catch {
            // What is there can be locked there too: somebody may have the file system mounted for writing elsewhere.
            guard error.errno == .readOnlyFileSystem,
                let file = try? Files.open(path, O_RDONLY | O_NOFOLLOW)
            else { throw error }
            return file
        }
    }
}
