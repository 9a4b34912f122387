// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Space that a store keeps back in a file, so that things can be removed on a full disk: deleting a row writes.
struct StoreReserve: Sendable {
    static let name = "reserve"
    /// The log at its longest, its index, and some growth of the rows.
    private static let size: Int64 = 1 << 20

    /// With less free space than this a disk counts as nearly full; btrfs refuses to write with several MiB left.
    private static let little: UInt64 = 64 << 20

    private let root: FilePath

    init(_ root: FilePath) { self.root = root }

    var path: FilePath { root.appending(Self.name) }

    var isThere: Bool { (try? Files.status(path)) != nil }

    /// Makes the file if it is missing.
    ///
    /// Without space there is none; nothing depends on it.
    func keep() {
        guard let file = try? Files.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600) else {
            return
        }
        do throws(SystemError) {
            try system("fallocate") { clinux_fallocate(file.raw, 0, 0, Self.size) }
            if try Files.fileSystemType(file.raw) == "btrfs" { try Self.keepNodes(of: file.raw) }
        } catch {
            _ = try? Files.unlink(path)
        }
    }

    /// btrfs: its trees take their space apart from content, and a change of one asks for many nodes at a time.
    ///
    /// An attribute that is nearly as large as a node fills one: of 16 KiB, or of 4 KiB where content and trees are mixed.
    private static func keepNodes(of file: CInt) throws(SystemError) {
        let nodes = 256
        var size = 12 << 10
        let bytes = [UInt8](repeating: 0, count: size)
        for number in 0..<nodes {
            let name = "user.strata.reserve.\(number)"
            if number == 0, clinux_fsetxattr(file, name, bytes, size, 0) == 0 { continue }
            if number == 0 { size = 3 << 10 }
            try system("fsetxattr", name) { clinux_fsetxattr(file, name, bytes, size, 0) }
        }
    }

    /// Frees the space; `false` if there is none.
    ///
    /// btrfs gives it out again only once the removal is on disk.
    func use() -> Bool {
        guard let directory = try? Files.openDirectory(root),
            (try? Files.unlink(Self.name, below: directory.raw)) == true
        else { return false }
        try? Files.syncFileSystem(of: directory.raw)
        return true
    }

    /// Whether hardly any space is left.
    var isNeeded: Bool {
        guard let directory = try? Files.openDirectory(root), let space = try? Files.space(of: directory.raw)
        else { return false }
        // What btrfs calls free but not for all is the space of its trees.
        let isForRoot = geteuid() == 0 && (try? Files.fileSystemType(directory.raw)) != "btrfs"
        return (isForRoot ? space.freeForRoot : space.free) < Self.little
    }

    /// Frees the space if hardly any other is left.
    func useIfFull() {
        if isNeeded { _ = use() }
    }
}
