// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

/// A mount of this process's mount namespace, as /proc/self/mountinfo lists it.
package struct MountEntry: Sendable {
    /// As statx(2) gives it for what lies on the mount (`FileStatus.mountID`).
    package var id: UInt64
    package var parent: UInt64
    /// Where it stands, as seen from this process's root.
    package var place: FilePath

    /// One line of the file; `nil` if it is none.
    init?(_ line: some Sequence<UInt8>) {
        let fields = Array(line).split(separator: UInt8(ascii: " "), maxSplits: 5)
        guard fields.count == 6,
            let id = UInt64(String(decoding: fields[0], as: UTF8.self)),
            let parent = UInt64(String(decoding: fields[1], as: UTF8.self))
        else { return nil }
        self.id = id
        self.parent = parent
        place = Self.unescaped(fields[4])
    }

    /// Spaces, tabs, line ends and backslashes are written as `\ooo`.
    private static func unescaped(_ field: ArraySlice<UInt8>) -> FilePath {
        var bytes: [CChar] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(CChar(bitPattern: value))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(CChar(bitPattern: byte))
            }
        }
        bytes.append(0)
        return bytes.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { FilePath(platformString: $0) } ?? FilePath()
        }
    }
}

/// The mounts of this process's mount namespace.
package enum MountTable {
    package static let path: FilePath = "/proc/self/mountinfo"

    package static func entries() throws(SystemError) -> [MountEntry] {
        try Files.contents(path, limit: 256 << 20).split(separator: UInt8(ascii: "\n"))
            .compactMap { MountEntry($0) }
    }

    /// Takes the mount at `place` away; with `isLazy` also one that is in use, which then ends with its last user.
    package static func unmount(_ place: FilePath, isLazy: Bool = false) throws(SystemError) {
        try system("umount", place.printable) {
            place.withCPath { clinux_umount($0, isLazy ? 1 : 0) }
        }
    }

    /// The processes that keep a mount busy: by working directory, root, program or an open file.
    ///
    /// Cost: a walk of /proc. What ends meanwhile is skipped.
    package static func users(of mount: UInt64) -> [MountUser] {
        guard let proc = try? Files.openDirectory("/proc"), let names = try? Files.list(proc.raw) else {
            return []
        }
        return names.compactMap { entry in
            guard let pid = CInt(entry.name.printable), isUser(pid, of: mount) else { return nil }
            let name = (try? Files.contents(FilePath("/proc/\(pid)/comm"), limit: 4096)) ?? []
            return MountUser(
                pid: pid,
                name: TreePath(bytes: name.filter { $0 != UInt8(ascii: "\n") }).printable
            )
        }
    }

    private static func isUser(_ pid: CInt, of mount: UInt64) -> Bool {
        for name in ["cwd", "root", "exe"] {
            guard let file = try? Files.open("/proc/\(pid)/\(name)", CLINUX_O_PATH) else { continue }
            if (try? Files.status(of: file.raw))?.mountID == mount { return true }
        }
        guard let directory = try? Files.openDirectory("/proc/\(pid)/fdinfo"),
            let files = try? Files.list(directory.raw)
        else { return false }
        return files.contains { file in
            let text = (try? Files.contents(file.name, below: directory.raw, limit: 64 << 10)) ?? []
            let field = String(decoding: text, as: UTF8.self).split(separator: "\n")
                .first { $0.hasPrefix("mnt_id:") }
            return field.flatMap { UInt64($0.dropFirst(7).drop { $0 == "\t" || $0 == " " }) } == mount
        }
    }
}

/// A process that uses a mount.
package struct MountUser: Sendable, CustomStringConvertible {
    package var pid: CInt
    package var name: String

    package var description: String { "\(name) (pid \(pid))" }
}
