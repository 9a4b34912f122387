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
        try take(Files.open("lock", below: directory, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600))
        try Files.removeTree("stage", below: directory)
        try Files.makeDirectory("stage", below: directory)
        return try Files.openDirectory("stage", below: directory).release()
    }

    /// Locks a file or directory for as long as this process and its forks live.
    ///
    /// EBUSY if another one has it.
    static func take(_ file: consuming OwnedFD) throws(SystemError) {
        // A server whose mount is gone ends within moments.
        for _ in 0..<200 {
            let result = cfuse_lock(file.raw)
            if result < 0 { throw SystemError("lock", nil, Errno(rawValue: -result)) }
            if result == 1 {
                _ = file.release()
                return
            }
            usleep(10_000)
        }
        throw SystemError("lock", nil, .resourceBusy)
    }

    /// Whether names can be made that begin with `.wh.`, as nobody can in a union of this kind.
    static func takesMarks(_ stage: CInt) -> Bool {
        if (try? Files.fileSystemType(stage)) != "fuse" { return true }
        defer { cfuse_unlink(stage, opaqueMark) }
        return (try? Files.open(".wh..wh..opq", below: stage, O_WRONLY | O_CREAT, mode: 0o600)) != nil
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
