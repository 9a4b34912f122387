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
        try Program(["mkfs.\(type)"]).run(["-q", file.string])
        try mount(type, file, at: place)
        return LoopFileSystem(type: type, file: file, path: place)
    }

    /// Somebody else may be trying to take the loop device that the program chose, which is busy for that moment.
    private static func mount(_ type: String, _ file: FilePath, at place: FilePath) throws {
        for attempt in 1... {
            do {
                try Program(["mount"]).run(["-t", type, "-o", "loop", file.string, place.string])
                return
            } catch {
                // Ctrl-C reaches the program too, perhaps when it has mounted.
                let above = try? Files.status(place.removingLastComponent())
                if let here = try? Files.status(place), here.device != above?.device { return }
                if attempt == 20 { throw error }
                usleep(100_000)
            }
        }
    }

    /// Not more than the disk has: a file system whose disk lies fails in ways that say nothing.
    private static func size(_ type: String, in directory: FilePath) throws -> Int64 {
        let space = try doing("look at \(directory)") { try Files.space(at: directory) }
        let available = Int64(clamping: space.free) / 4 * 3
        guard available >= sizes.lowerBound else {
            throw StorageError(
                .noSpace,
                "make \(type) in a loop file: too little space is free in \(directory)",
                remedy: "give a --directory with 700 MB or more"
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
