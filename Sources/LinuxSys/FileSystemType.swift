// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

extension Files {
    /// Bytes that can still be written where `path` lies: by anyone, and by root, for whom some file systems keep more.
    package static func freeBytes(at path: FilePath) throws(SystemError) -> (forAll: UInt64, forRoot: UInt64)
    {
        var figures = statvfs()
        try system("statvfs", path.printable) { path.withPlatformString { statvfs($0, &figures) } }
        func bytes(_ blocks: UInt) -> UInt64 {
            UInt64(blocks).multipliedReportingOverflow(by: UInt64(figures.f_frsize)).partialValue
        }
        return (bytes(figures.f_bavail), bytes(figures.f_bfree))
    }

    /// The name of the file system that an open file lies on, or its magic number where that is unknown.
    package static func fileSystemType(_ fd: CInt) throws(SystemError) -> String {
        var magic = UInt32(0)
        try system("fstatfs") { clinux_fstatfs_type(fd, &magic) }
        return fileSystemNames[magic] ?? "0x" + String(magic, radix: 16)
    }

    /// The numbers of <linux/magic.h> for what a store may lie on.
    private static let fileSystemNames: [UInt32: String] = [
        0xEF53: "ext4", 0x5846_5342: "xfs", 0x9123_683E: "btrfs", 0x0102_1994: "tmpfs",
        0x794C_7630: "overlay",
        0xF2F5_2010: "f2fs", 0x2FC1_2FC1: "zfs", 0xCA45_1A4E: "bcachefs", 0x6969: "nfs", 0x6573_5546: "fuse",
        0x00C0_FFEE: "hostfs", 0xE0F5_E1E2: "erofs", 0x8584_58F6: "ramfs",
    ]
}
