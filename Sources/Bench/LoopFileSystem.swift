// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// A file system in a file, for drivers that do not work on the one that is there.
///
/// It is mounted in a mount namespace of this thread alone: however the process ends, the mount goes with it, and the loop
/// device with the mount.
struct LoopFileSystem {
    let type: String
    /// The loop file.
    let file: FilePath
    /// Where it is mounted.
    let path: FilePath

    /// Those that are tried, in this order.
    static let types = ["btrfs", "xfs"]

    /// The most that the file may become, which is sparse; the least with which it makes sense.
    private static let sizes: ClosedRange<Int64> = (512 << 20)...(16 << 30)

    /// Makes one in `directory`.
    static func make(_ type: String, in directory: FilePath) throws -> LoopFileSystem {
        let size = try size(type, in: directory)
        let file = directory.appending("\(type).disk")
        let place = directory.appending("\(type).mount")
        try doing("make \(file)") {
            let disk = try Files.open(file, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            try system("ftruncate", file.printable) { ftruncate(disk.raw, off_t(size)) }
            try Files.makeDirectory(place)
        }
        try mount(type, file, at: place)
        return LoopFileSystem(type: type, file: file, path: place)
    }

    /// Made on the device, whose sectors may be larger than those that the file alone would get.
    ///
    /// A loop device that keeps the blocks in memory a second time, as it does without direct I/O, has memory brought and
    /// cleared for each block that is new to it: a cost that a disk does not have, and that falls on whoever comes first.
    private static func mount(_ type: String, _ file: FilePath, at place: FilePath) throws {
        _ = try doing("make \(type) in \(file)") {
            let loop = try LoopDevice.attach(file, direct: true)
            try Program(["mkfs.\(type)"]).run(["-q", loop.path.string])
            let mount = try DetachedMount.make(type, [.string("source", loop.path.string)])
            try DetachedMount.attach(mount.raw, at: place, below: AT_FDCWD)
        }
    }

    /// Two of them are not more than the disk has: a file system whose disk lies fails in ways that say nothing.
    private static func size(_ type: String, in directory: FilePath) throws -> Int64 {
        let space = try doing("look at \(directory)") { try Files.space(at: directory) }
        let available = Int64(clamping: space.free) / 8 * 3
        guard available >= sizes.lowerBound else {
            throw StorageError(
                .noSpace,
                "make \(type) in a loop file: too little space is free in \(directory)",
                remedy: "give a --directory with 1.5 GB or more"
            )
        }
        return min(available & ~0xFFFFF, sizes.upperBound)
    }

    /// Gives the calling thread, and what it starts, mounts of its own.
    static func isolate() throws {
        _ = try doing("make a mount namespace for file systems in loop files") {
            try system("unshare") { clinux_private_mounts() }
        }
    }

    func unmount() { try? MountTable.unmount(path, isLazy: true) }
}
