// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

/// A file as a block device; it frees itself when nobody uses it any more.
///
/// There is one loop device per file, found by the file's device and inode; whoever attaches one holds a lock of its own
/// against others who would attach the same file.
package struct LoopDevice: ~Copyable, Sendable {
    /// The open device.
    package let fd: OwnedFD
    package let number: Int

    package var path: FilePath { Self.path(number) }

    private static func path(_ number: Int) -> FilePath { FilePath("/dev/loop\(number)") }

    /// The loop device of `file`, attached if it has none.
    ///
    /// - Parameters:
    ///   - readOnly: for files that cannot be written.
    ///   - direct: for one that is attached now, its blocks are not kept in the page cache of the file too, where the file
    ///     system below can do so. What was read is then read anew after each unmount.
    package static func attach(
        _ file: FilePath,
        readOnly: Bool = false,
        direct: Bool = false
    ) throws(SystemError) -> LoopDevice {
        let access = readOnly ? O_RDONLY : O_RDWR
        let backing = try Files.open(file, access | O_NOFOLLOW)
        let status = try Files.status(of: backing.raw)
        if let present = try find(status, access) { return present }
        let control = try Files.open("/dev/loop-control", O_RDWR)
        var tries = 0
        while true {
            let number = Int(try system("LOOP_CTL_GET_FREE") { clinux_loop_get_free(control.raw) })
            let node = path(number)
            if try Files.status(node) == nil {
                let mode = FileKind.blockDevice.formatBits | 0o600
                _ = try systemAnswer("mknod", node.string, expecting: .fileExists) {
                    clinux_mknodat(AT_FDCWD, node.string, mode, 7, UInt32(number))
                }
            }
            let loop = try Files.open(node, access)
            let taken = try systemAnswer("attach a loop device to", file.printable, expecting: .resourceBusy)
            {
                clinux_loop_attach(
                    loop.raw,
                    backing.raw,
                    file.lastComponent?.string ?? "",
                    readOnly ? 1 : 0,
                    direct ? 1 : 0
                )
            }
            if taken != nil { return LoopDevice(fd: loop, number: number) }
            // Somebody else took it meanwhile, or keeps it from being taken.
            tries += 1
            if tries == 500 { throw SystemError("attach a loop device to", file.printable, .resourceBusy) }
            usleep(10_000)
        }
    }

    /// The loop device that `file` has, if any.
    package static func find(_ file: FilePath) throws(SystemError) -> LoopDevice? {
        guard let status = try Files.status(file) else { return nil }
        return try find(status, O_RDWR)
    }

    private static func find(_ status: FileStatus, _ access: CInt) throws(SystemError) -> LoopDevice? {
        let (major, minor) = (UInt64(status.device.major), UInt64(status.device.minor))
        let encoded = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
        let directory = try Files.openDirectory("/sys/block")
        for entry in try Files.list(directory.raw) {
            let name = String(decoding: entry.name.bytes, as: UTF8.self)
            guard name.hasPrefix("loop"), let number = Int(name.dropFirst(4)),
                try Files.status("\(name)/loop/backing_file", below: directory.raw) != nil,
                let loop = try? Files.open(path(number), access)
            else { continue }
            var (device, inode): (UInt64, UInt64) = (0, 0)
            if clinux_loop_backing(loop.raw, &device, &inode) == 0, device == encoded, inode == status.inode {
                return LoopDevice(fd: loop, number: number)
            }
        }
        return nil
    }

    /// Takes over the size of the file.
    package borrowing func takeSize() throws(SystemError) {
        try system("LOOP_SET_CAPACITY") { clinux_loop_set_capacity(fd.raw) }
    }
}
