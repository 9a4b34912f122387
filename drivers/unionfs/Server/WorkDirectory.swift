// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import LinuxSys
import SystemPackage

/// The work directory: `lock` while it is in use, `inodes` (see `InodeMap`), and `stage`, which holds nothing once
/// nobody uses it.
enum WorkDirectory {
    /// Takes it for this process, and clears what a killed one left; gives the staging directory.
    static func open(_ directory: CInt) throws -> CInt {
        let lock = try Files.open("lock", below: directory, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
            .release()
        // A server whose mount is gone ends within moments.
        for attempt in 0... {
            let result = cfuse_lock(lock)
            if result == 1 { break }
            if result < 0 || attempt == 200 {
                throw SystemError("lock the work directory", nil, .resourceBusy)
            }
            usleep(10_000)
        }
        try Files.removeTree("stage", below: directory)
        try Files.makeDirectory("stage", below: directory)
        return try Files.openDirectory("stage", below: directory).release()
    }

    /// Removes what a killed server left in the staging directory.
    static func clear(_ stage: CInt) throws {
        for entry in try Files.list(stage) { try Files.removeTree(entry.name, below: stage) }
    }

    static func removeTree(_ name: UnsafePointer<CChar>, below directory: CInt) throws {
        try Files.removeTree(
            TreePath(bytes: (0..<strlen(name)).map { UInt8(bitPattern: name[$0]) }),
            below: directory
        )
    }
}
