// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A name in a directory, as getdents64(2) gives it.
package struct DirectoryEntry: Sendable {
    package var name: TreePath
    package var inode: UInt64
    /// `nil` where the file system does not tell (DT_UNKNOWN): ask `Files.status`.
    package var kind: FileKind?
}

extension Files {
    /// All names of an open directory but `.` and `..`, from its start, in the file system's order.
    ///
    /// Takes an O_PATH descriptor too, which is what the root of a detached mount is.
    package static func list(_ directory: CInt) throws(SystemError) -> [DirectoryEntry] {
        if try systemAnswer("lseek", expecting: .badFileDescriptor, call: { lseek(directory, 0, SEEK_SET) })
            == nil
        {
            let again = try openDirectory(".", below: directory)
            return try list(again.raw)
        }
        var entries: [DirectoryEntry] = []
        let capacity = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        defer { buffer.deallocate() }
        while true {
            let count = try system("getdents64") { clinux_getdents64(directory, buffer, capacity) }
            if count == 0 { return entries }
            var offset = 0
            while offset < count {
                let length = Int(buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
                let bytes = UnsafeRawBufferPointer(start: buffer + offset + 19, count: length - 19)
                let name = Array(bytes.prefix { $0 != 0 })
                if name != [0x2E] && name != [0x2E, 0x2E] {
                    entries.append(
                        DirectoryEntry(
                            name: TreePath(bytes: name),
                            inode: buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
                            kind: kind(ofType: bytes.baseAddress.map { ($0 - 1).load(as: UInt8.self) } ?? 0)
                        )
                    )
                }
                offset += length
            }
        }
    }

    /// The same, sorted by the bytes of the names.
    package static func sortedList(_ directory: CInt) throws(SystemError) -> [DirectoryEntry] {
        var entries = try list(directory)
        entries.sort { $0.name < $1.name }
        return entries
    }

    private static func kind(ofType type: UInt8) -> FileKind? {
        switch Int(type) {
        case DT_REG: .regular
        case DT_DIR: .directory
        case DT_LNK: .symlink
        case DT_CHR: .characterDevice
        case DT_BLK: .blockDevice
        case DT_FIFO: .fifo
        case DT_SOCK: .socket
        default: nil
        }
    }

    /// Removes the tree at `name` below `directory`, never following a symlink or leaving the mount it starts
    /// on; absent is success.
    ///
    /// Depth is bounded by memory, not by PATH_MAX.
    ///
    /// Stops with EBUSY at a directory on which something is mounted.
    package static func removeTree(
        _ name: some PathConvertible,
        below directory: CInt = AT_FDCWD
    ) throws(SystemError) {
        guard let status = try status(name, below: directory) else { return }
        guard status.kind == .directory else {
            try unlink(name, below: directory)
            return
        }
        let root = try openDirectory(name, below: directory)
        try clear(root, mount: status.mountID, device: status.device)
        try unlink(name, below: directory, isDirectory: true)
    }

    /// Empties `top`.
    ///
    /// A stack of descriptors would end at RLIMIT_NOFILE, so only the way down is kept, in names, and `..`
    /// leads back; the tree is the engine's own and nobody moves directories in it.
    private static func clear(
        _ top: borrowing OwnedFD,
        mount: UInt64,
        device: DeviceNumber
    ) throws(SystemError) {
        var current = try top.duplicate()
        var pending: [[TreePath]] = [try removeFiles(in: current.raw)]
        var path: [TreePath] = []
        while let last = pending.indices.last {
            if let next = pending[last].popLast() {
                let child = try openDirectory(next, below: current.raw)
                let status = try status(of: child.raw)
                guard status.mountID == mount, status.device == device else {
                    throw SystemError("unlink", next.printable, .resourceBusy)
                }
                current = child
                path.append(next)
                pending.append(try removeFiles(in: current.raw))
            } else {
                pending.removeLast()
                guard let name = path.popLast() else { return }
                current = try open("..", below: current.raw, O_RDONLY | O_DIRECTORY)
                try unlink(name, below: current.raw, isDirectory: true)
            }
        }
    }

    /// Unlinks everything in `directory` that is not a directory; the names of those that are.
    private static func removeFiles(in directory: CInt) throws(SystemError) -> [TreePath] {
        var directories: [TreePath] = []
        for entry in try list(directory) {
            let isDirectory: Bool
            if let kind = entry.kind {
                isDirectory = kind == .directory
            } else {
                isDirectory = try status(entry.name, below: directory)?.kind == .directory
            }
            if isDirectory {
                directories.append(entry.name)
            } else {
                try unlink(entry.name, below: directory)
            }
        }
        return directories
    }
}
