// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// A path that leads to a block device by its number, whether or not udev runs.
enum BlockNode {
    /// Gives `body` the kernel's own node where /dev has it, else one that is made for the while in `directory`.
    static func with<T: ~Copyable>(
        _ number: DeviceNumber,
        in directory: FilePath,
        _ body: (FilePath) throws(SystemError) -> T
    ) throws(SystemError) -> T {
        let present = FilePath("/dev/dm-\(number.minor)")
        if let status = try Files.status(present), status.kind == .blockDevice, status.rdev == number {
            return try body(present)
        }
        let own = directory.appending(
            ".node-\(number.major)-\(number.minor)-\(UInt64.random(in: 0...UInt64.max))"
        )
        try system("mknod", own.string) {
            clinux_mknodat(
                AT_FDCWD,
                own.string,
                FileKind.blockDevice.formatBits | 0o600,
                number.major,
                number.minor
            )
        }
        defer { _ = try? Files.unlink(own) }
        return try body(own)
    }
}
