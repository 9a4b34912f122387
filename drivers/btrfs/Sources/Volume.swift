// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// A btrfs in a file of the driver's home, for stores that lie on another file system.
///
/// `<home>/volume` is sparse, so its size is a limit and no cost. Where it is, it is used; so an option is needed once. It
/// is mounted detached: the mount vanishes with the last process that uses it, and the loop device with the mount.
struct Volume {
    static let option = "btrfs.loop"
    /// mkfs.btrfs makes nothing smaller that has room for much.
    private static let smallest: Int64 = 256 << 20

    /// The root directory of the file system.
    let root: SharedFD
    private let file: FilePath
    /// What lies on a file system that became read-only can still be read.
    private let isReadOnly: Bool

    private static func path(_ home: FilePath) -> FilePath { home.appending("volume") }

    static func exists(in home: FilePath) throws(SystemError) -> Bool { try Files.status(path(home)) != nil }

    private static func lockPath(_ home: FilePath) -> FilePath { home.appending("volume.lock") }

    static func removeLock(in home: FilePath) { _ = try? Files.unlink(lockPath(home)) }

    /// The size that the option asks for.
    static func size(_ value: String) throws -> Int64 {
        guard let size = OptionValue.bytes(value), size >= smallest, size <= 1 << 50 else {
            throw StorageError(
                .invalid,
                "option \(option)=\(value) of storage driver btrfs",
                remedy: "it takes a size of at least 256m: 20g"
            )
        }
        return size
    }

    /// Mounts the file, making it if it is missing and a size is given; a file that is smaller grows to the size.
    init(in home: FilePath, size: Int64?) throws {
        file = Self.path(home)
        let file = file
        (root, isReadOnly) = try doing("open the volume \(file) of storage driver btrfs") {
            // So that a file has one loop device, and one who makes it or changes its size.
            let lock = try FileLock.acquire(Self.lockPath(home), .exclusive)
            defer { withExtendedLifetime(lock) {} }
            if try Files.status(file) == nil, let size { try Self.make(file, size: size) }
            let isReadOnly = try Self.isReadOnly(file)
            let loop = try LoopDevice.attach(file, readOnly: isReadOnly)
            let mount = try Self.mount(file, on: loop.path, isReadOnly: isReadOnly)
            let root = SharedFD(try Files.open(".", below: mount.raw, O_RDONLY | O_DIRECTORY))
            if let size, !isReadOnly { try Self.grow(file, to: size, loop, root.raw) }
            return (root, isReadOnly)
        }
    }

    private static func isReadOnly(_ file: FilePath) throws -> Bool {
        let answer = try systemAnswer("access", file.string, expecting: .readOnlyFileSystem) {
            file.withPlatformString { access($0, W_OK) }
        }
        return answer == nil
    }

    private static func mount(
        _ file: FilePath,
        on device: FilePath,
        subvolume: String? = nil,
        isReadOnly: Bool
    ) throws -> OwnedFD {
        var parameters: [DetachedMount.Parameter] = [.string("source", device.string)]
        if isReadOnly { parameters.append(.flag("ro")) }
        if let subvolume { parameters.append(.string("subvol", subvolume)) }
        do throws(SystemError) {
            return try DetachedMount.make("btrfs", parameters, attributes: .noAccessTime)
        } catch {
            // What was synced last may be in a log that cannot be replayed here.
            if isReadOnly, error.errno == .readOnlyFileSystem {
                parameters.append(.string("rescue", "nologreplay"))
                return try DetachedMount.make("btrfs", parameters, attributes: .noAccessTime)
            }
            guard damages.contains(error.errno) else { throw error }
            throw StorageError(
                error,
                doing: "mount the volume \(file) of storage driver btrfs",
                remedy:
                    "it is damaged, or made by a newer system (dmesg tells, and btrfs check \(file)); if nothing helps, move it"
                    + " away: --storage-opt \(option)=SIZE makes another, strata system check --repair the layers of images"
            )
        }
    }

    private static let inProgress = Errno(rawValue: EINPROGRESS)
    /// What the kernel says of a file system whose blocks are not what they should be.
    private static let damages: [Errno] = [.invalidArgument, .ioError, Errno(rawValue: EUCLEAN)]

    private static func make(_ file: FilePath, size: Int64) throws {
        let mkfs = try ExternalProgram("mkfs.btrfs", package: "btrfs-progs")
        let new = FilePath("\(file).new")
        let disk = try Files.open(new, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        try system("ftruncate", new.printable) { ftruncate(disk.raw, Int(size)) }
        let (code, output) = try mkfs.run(["-q", "-f", new.string])
        guard code == 0 else {
            try Files.unlink(new)
            throw StorageError(
                .system,
                "make a btrfs of \(size) bytes in \(new): mkfs.btrfs ended with exit code \(code):"
                    + " \(output.split(separator: "\n").last ?? "")"
            )
        }
        try system("fsync", new.printable) { fsync(disk.raw) }
        try Files.rename(new, to: file)
        let directory = try Files.openDirectory(file.removingLastComponent())
        try system("fsync", file.printable) { fsync(directory.raw) }
    }

    private static func grow(
        _ file: FilePath,
        to size: Int64,
        _ loop: borrowing LoopDevice,
        _ root: CInt
    ) throws {
        let disk = try Files.open(file, O_RDWR | O_NOFOLLOW)
        let present = try Files.status(of: disk.raw).size
        // Who was killed in between has made only the file larger.
        if size == present, try Files.space(of: root).total + (1 << 20) > UInt64(size) { return }
        guard size >= present else {
            throw StorageError(
                .invalid,
                "\(option)=\(size): the volume \(file) has \(present) bytes and cannot shrink",
                remedy: "leave the option out, or give a larger size"
            )
        }
        try system("ftruncate", file.printable) { ftruncate(disk.raw, Int(size)) }
        try loop.takeSize()
        var tries = 0
        while true {
            let grown = try systemAnswer("grow the file system", expecting: inProgress) { cbtrfs_grow(root) }
            if grown != nil { return }
            // A prune that waits gives up what is empty, a few groups at a time.
            tries += 1
            if tries == 500 { throw SystemError("grow the file system", file.string, inProgress) }
            usleep(20_000)
        }
    }

    /// A subvolume's root as a mount, for kernels (before 6.15) that do not clone mounts which are in no mount table.
    func mount(subvolume: String) throws -> OwnedFD {
        let loop = try LoopDevice.attach(file, readOnly: isReadOnly)
        return try Self.mount(file, on: loop.path, subvolume: subvolume, isReadOnly: isReadOnly)
    }

    /// Gives what is free in the volume back to the file system on which it lies.
    ///
    /// The kernel does so by itself, but half a minute later, and not in a volume that is unmounted by then.
    func trim() throws(SystemError) {
        // Where the file cannot have holes, there is nothing to give back.
        _ = try systemAnswer("FITRIM", file.string, expecting: .notSupported) {
            cbtrfs_trim(root.raw)
        }
    }

    /// Bytes that the file may have and has.
    func size() throws(SystemError) -> (limit: Int64, used: Int64) {
        guard let status = try Files.status(file) else { return (0, 0) }
        return (status.size, status.blocks &* 512)
    }
}
