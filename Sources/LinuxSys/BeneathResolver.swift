// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

extension Files {
    /// Opens `path` below `root` without following any symlink, however long the path is.
    ///
    /// A component that is a symlink is ELOOP; a final symlink can be opened with O_PATH.
    package static func openBeneath(
        _ path: TreePath,
        in root: CInt,
        _ flags: CInt
    ) throws(SystemError) -> OwnedFD {
        var rest = path.bytes[...]
        var held: OwnedFD?
        while rest.count > longestPiece {
            guard let slash = rest.prefix(longestPiece).lastIndex(of: UInt8(ascii: "/")) else {
                throw SystemError("open", path.printable, .fileNameTooLong)
            }
            let piece = TreePath(bytes: Array(rest[..<slash]))
            held = try openPiece(piece, below: held?.raw ?? root, CLINUX_O_PATH | O_DIRECTORY)
            rest = rest[(slash + 1)...]
        }
        return try openPiece(TreePath(bytes: Array(rest)), below: held?.raw ?? root, flags)
    }

    /// Opens the directory in which `path` lies, to look only.
    ///
    /// The root lies in itself (its name is empty).
    package static func openParent(of path: TreePath, in root: CInt) throws(SystemError) -> OwnedFD {
        try openBeneath(path.parent ?? .root, in: root, CLINUX_O_PATH | O_DIRECTORY)
    }

    /// A path that the kernel takes in one call is shorter than PATH_MAX.
    private static let longestPiece = 4000

    private static func openPiece(
        _ path: TreePath,
        below directory: CInt,
        _ flags: CInt
    ) throws(SystemError) -> OwnedFD {
        OwnedFD(
            adopting: try system("open", path.printable) {
                path.withCPath { p in
                    let all = UInt64(UInt32(bitPattern: flags | O_NOFOLLOW | O_CLOEXEC))
                    let resolve = UInt64(CLINUX_RESOLVE_BENEATH | CLINUX_RESOLVE_NO_SYMLINKS)
                    return p.pointee == 0
                        ? clinux_openat2(directory, ".", all, 0, resolve)
                        : clinux_openat2(directory, p, all, 0, resolve)
                }
            }
        )
    }
}

extension Files {
    /// Writes all that is cached of the file system on which `fd` lies to disk.
    package static func syncFileSystem(of fd: CInt) throws(SystemError) {
        try system("syncfs") { clinux_syncfs(fd) }
    }

    /// Returns when the names in a directory are on disk.
    package static func syncDirectory(_ path: FilePath) throws(SystemError) {
        let directory = try open(path, O_RDONLY | O_DIRECTORY)
        try system("fsync", path.printable) { fsync(directory.raw) }
    }
}
