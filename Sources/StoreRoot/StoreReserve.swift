// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Space that a store keeps back in a file, so that things can be deleted on a full disk: deleting a row writes.
enum StoreReserve {
    static let name = "reserve"
    /// The log at its longest, its index, and some growth of the rows.
    private static let size: Int64 = 1 << 20

    /// Makes the file if it is missing.
    ///
    /// Without space there is none; nothing depends on it.
    static func keep(_ path: FilePath) {
        guard let file = try? Files.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600) else {
            return
        }
        if clinux_fallocate(file.raw, 0, 0, size) != 0 { _ = try? Files.unlink(path) }
    }

    /// Frees the space; `false` if there is none.
    ///
    /// btrfs gives it out again only once the removal is on disk.
    static func use(_ path: FilePath) -> Bool {
        guard let directory = try? Files.openDirectory(path.removingLastComponent()),
            (try? Files.unlink(path)) == true
        else { return false }
        try? Files.syncFileSystem(of: directory.raw)
        return true
    }
}
