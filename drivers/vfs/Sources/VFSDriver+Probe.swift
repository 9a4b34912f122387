// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
package import Storage
package import SystemPackage

extension VFSDriver {
    /// Copies a small tree on the file system of `home` and compares the copy.
    package static func probe(home: FilePath) -> ProbeResult {
        do {
            let base = try Files.nearestDirectory(to: home)
            let scratch = ".strata-probe-\(UInt64.random(in: 0...UInt64.max))"
            let directory = try Files.open(base, O_RDONLY | O_DIRECTORY)
            try Files.makeDirectory(scratch, below: directory.raw)
            defer { try? Files.removeTree(scratch, below: directory.raw) }
            let place = try Files.openDirectory(scratch, below: directory.raw)
            return try tryCopy(in: place.raw, base: base)
        } catch let error as SystemError {
            return .unavailable(reason: "copying a tree at \(home) failed: \(error)", remedy: nil)
        } catch let error as StorageError {
            return .unavailable(reason: error.message, remedy: error.remedy)
        } catch {
            return .unavailable(reason: "copying a tree at \(home) failed: \(error)", remedy: nil)
        }
    }

    private static func tryCopy(in place: CInt, base: FilePath) throws -> ProbeResult {
        for name in ["from", "to"] { try Files.makeDirectory(name, below: place) }
        let source = try Files.openDirectory("from", below: place)
        let target = try Files.openDirectory("to", below: place)
        try makeSample(in: source.raw)
        try TreeCopier.copy(from: source.raw, to: target.raw)
        let changes = try TreeComparison.changes(parent: source.raw, tree: target.raw)
        guard changes.isEmpty else {
            let paths = changes.map(\.path.description).joined(separator: ", ")
            return .unavailable(
                reason: "a copy on the file system of \(base) differs from its original in \(paths)",
                remedy:
                    "put the store on a file system that keeps owners, attributes and times (ext4, xfs, btrfs)"
            )
        }
        return .works(detail: sharesBlocks(in: place) ? "large files share their blocks" : "full copies")
    }

    private static func makeSample(in directory: CInt) throws {
        let file = try Files.open("file", below: directory, O_RDWR | O_CREAT | O_EXCL, mode: 0o640)
        try Files.writeAll([0x31], to: file.raw)
        let attribute = ExtendedAttribute(name: Array("user.strata.probe".utf8), value: [0x31])
        try ExtendedAttributes.set(attribute, on: file.raw)
        if geteuid() == 0 { try system("fchown") { fchown(file.raw, 70_000, 70_001) } }
        try system("fchmod") { fchmod(file.raw, 0o4755) }
        try system("futimens") { clinux_utimensat(file.raw, "", 1_000_000_000, 123_456_789, 0) }
        try system("symlink") { symlinkat("file", directory, "symlink") }
        try system("link") { clinux_linkat(directory, "file", directory, "link", 0) }
        try system("mknod") { clinux_mknodat(directory, "fifo", FileKind.fifo.formatBits | 0o600, 0, 0) }
    }

    /// Whether the file system can clone files.
    static func sharesBlocks(in directory: CInt) -> Bool {
        guard
            let source = try? SharedFD(
                Files.open(".", below: directory, CLINUX_O_TMPFILE | O_RDWR, mode: 0o600)
            ),
            let target = try? SharedFD(
                Files.open(".", below: directory, CLINUX_O_TMPFILE | O_RDWR, mode: 0o600)
            ), (try? Files.writeAll([UInt8](repeating: 1, count: 4096), to: source.raw)) != nil
        else { return false }
        return clinux_ficlone(target.raw, source.raw) == 0
    }

    package func status() throws -> [(name: String, value: String)] {
        try doing("look at \(home)") {
            let staging = try open(.staging)
            let sharing = Self.sharesBlocks(in: staging.raw) ? "large files share their blocks" : "full"
            return [("Layers", "\(try list().count)"), ("Copies", sharing)]
        }
    }
}
