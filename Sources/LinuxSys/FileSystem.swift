// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

/// What a file system has left: statvfs(3).
package struct FileSystemSpace: Sendable {
    /// Bytes that it has room for in all.
    package let total: UInt64
    /// Bytes that anyone can still write.
    package let free: UInt64
    /// Bytes that root can still write: some file systems keep more for it.
    package let freeForRoot: UInt64
    package let usedInodes: Int64

    fileprivate init(_ figures: statvfs) {
        func bytes(_ blocks: UInt) -> UInt64 {
            UInt64(blocks).multipliedReportingOverflow(by: UInt64(figures.f_frsize)).partialValue
        }
        total = bytes(figures.f_blocks)
        free = bytes(figures.f_bavail)
        freeForRoot = bytes(figures.f_bfree)
        usedInodes = Int64(clamping: figures.f_files) - Int64(clamping: figures.f_ffree)
    }
}

extension Files {
    /// What is left where `path` lies.
    package static func space(at path: FilePath) throws(SystemError) -> FileSystemSpace {
        var figures = statvfs()
        try system("statvfs", path.printable) { path.withPlatformString { statvfs($0, &figures) } }
        return FileSystemSpace(figures)
    }

    /// What is left on the file system of an open file.
    package static func space(of fd: CInt) throws(SystemError) -> FileSystemSpace {
        var figures = statvfs()
        try system("fstatvfs") { fstatvfs(fd, &figures) }
        return FileSystemSpace(figures)
    }

    /// The name of the file system that an open file lies on, or its magic number where that is unknown.
    package static func fileSystemType(_ fd: CInt) throws(SystemError) -> String {
        var magic = UInt32(0)
        try system("fstatfs") { clinux_fstatfs_type(fd, &magic, nil) }
        return fileSystemName(magic) ?? "0x" + String(magic, radix: 16)
    }

    /// Whether a change of a mapped file may need space where a byte of each page was written before: btrfs writes to new
    /// places, and elsewhere a page of several blocks may have but one.
    package static func needsSpaceToMap(_ fd: CInt) throws(SystemError) -> Bool {
        var (magic, blockSize) = (UInt32(0), UInt64(0))
        try system("fstatfs") { clinux_fstatfs_type(fd, &magic, &blockSize) }
        return blockSize < UInt64(sysconf(CInt(_SC_PAGESIZE))) || fileSystemName(magic) == "btrfs"
    }

    /// The numbers of <linux/magic.h> for what a store may lie on.
    ///
    /// Not a dictionary: every command asks, and the first use of a generic type is a search through the program.
    private static func fileSystemName(_ magic: UInt32) -> String? {
        switch magic {
        case 0xEF53: "ext4"
        case 0x5846_5342: "xfs"
        case 0x9123_683E: "btrfs"
        case 0x0102_1994: "tmpfs"
        case 0x794C_7630: "overlay"
        case 0xF2F5_2010: "f2fs"
        case 0x2FC1_2FC1: "zfs"
        case 0xCA45_1A4E: "bcachefs"
        case 0x6969: "nfs"
        case 0x6573_5546: "fuse"
        case 0x00C0_FFEE: "hostfs"
        case 0xE0F5_E1E2: "erofs"
        case 0x8584_58F6: "ramfs"
        default: nil
        }
    }
}
