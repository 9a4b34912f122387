// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import Storage
package import SystemPackage

/// Something that a program in a container does with files.
///
/// What it changes gets a time that depends only on the operation's number, so that two trees on which the same was
/// done can be compared.
package enum Operation: Sendable {
    /// Makes the file, or replaces its content.
    case write(TreePath, String)
    case append(TreePath, String)
    case truncate(TreePath, Int64)
    case makeDirectory(TreePath, mode: UInt32 = 0o755)
    case removeDirectory(TreePath)
    case unlink(TreePath)
    /// rm -rf
    case removeTree(TreePath)
    case rename(TreePath, to: TreePath)
    case symlink(TreePath, to: String)
    case link(TreePath, to: TreePath)
    case chmod(TreePath, UInt32)
    case chown(TreePath, UInt32, UInt32)
    case setAttribute(TreePath, String, [UInt8])
    case removeAttribute(TreePath, String)
    case makeNode(TreePath, FileKind, DeviceNumber = DeviceNumber(major: 0, minor: 0))
    case touch(TreePath, Timestamp)
    /// Opens for writing and writes nothing, which makes overlays copy it up.
    case openForWriting(TreePath)
    /// Whatever `failing` is must fail with this errno.
    indirect case fails(Errno, Operation)

    package func run(on root: CInt, number: Int) throws {
        let time = Timestamp(seconds: 1_600_000_000 + Int64(number), nanoseconds: 42)
        switch self {
        case .write(let path, let text): try Self.write(path, text, O_CREAT | O_TRUNC, root, time)
        case .append(let path, let text): try Self.write(path, text, O_APPEND, root, time)
        case .truncate(let path, let size):
            try Self.open(path, O_WRONLY, root) { fd in
                _ = try system("ftruncate") { ftruncate(fd, Int(size)) }
            }
            try Self.set(time, on: path, root)
        case .makeDirectory(let path, let mode):
            let parent = try Self.parent(of: path, root)
            try Files.makeDirectory(path.name, below: parent.raw, mode: mode)
            try system("fchmodat") { path.name.withCPath { fchmodat(parent.raw, $0, mode, 0) } }
            try Self.made(path, root, time)
        case .removeDirectory(let path): try Self.remove(path, isDirectory: true, root, time)
        case .unlink(let path): try Self.remove(path, isDirectory: false, root, time)
        case .removeTree(let path):
            let parent = try Self.parent(of: path, root)
            try Files.removeTree(path.name, below: parent.raw)
            try Self.setParent(time, of: path, root)
        case .rename(let path, let target):
            let source = try Self.parent(of: path, root)
            let parent = try Self.parent(of: target, root)
            try Files.rename(path.name, below: source.raw, to: target.name, below: parent.raw)
            try Self.setParent(time, of: path, root)
            try Self.setParent(time, of: target, root)
        case .symlink(let path, let target):
            let parent = try Self.parent(of: path, root)
            try system("symlink") { path.name.withCPath { symlinkat(target, parent.raw, $0) } }
            try Self.made(path, root, time)
        case .link(let path, let target):
            let parent = try Self.parent(of: path, root)
            let source = try Self.parent(of: target, root)
            try system("link", path.printable) {
                path.name.withCPath { new in
                    target.name.withCPath { clinux_linkat(source.raw, $0, parent.raw, new, 0) }
                }
            }
            try Self.setParent(time, of: path, root)
        case .chmod(let path, let mode):
            let parent = try Self.parent(of: path, root)
            try system("chmod") { Self.name(path).withCPath { fchmodat(parent.raw, $0, mode, 0) } }
        case .chown(let path, let uid, let gid):
            let parent = try Self.parent(of: path, root)
            try system("chown") {
                Self.name(path).withCPath { fchownat(parent.raw, $0, uid, gid, AT_SYMLINK_NOFOLLOW) }
            }
        case .setAttribute(let path, let name, let value):
            let parent = try Self.parent(of: path, root)
            let attribute = ExtendedAttribute(name: Array(name.utf8), value: value)
            try ExtendedAttributes.set(attribute, on: Self.name(path), below: parent.raw)
        case .removeAttribute(let path, let name):
            let parent = try Self.parent(of: path, root)
            try ExtendedAttributes.remove(Array(name.utf8), from: Self.name(path), below: parent.raw)
        case .makeNode(let path, let kind, let number):
            let parent = try Self.parent(of: path, root)
            try system("mknod") {
                path.name.withCPath {
                    clinux_mknodat(parent.raw, $0, kind.formatBits | 0o600, number.major, number.minor)
                }
            }
            try Self.made(path, root, time)
        case .touch(let path, let mtime): try Self.set(mtime, on: path, root)
        case .openForWriting(let path): try Self.open(path, O_RDWR, root) { _ in }
        case .fails(let errno, let operation):
            do {
                try operation.run(on: root, number: number)
            } catch let error as SystemError where error.errno == errno {
                return
            }
            throw ConformanceFailure("\(operation) does not fail with \(errno)")
        }
    }

    private static func write(
        _ path: TreePath,
        _ text: String,
        _ flags: CInt,
        _ root: CInt,
        _ time: Timestamp
    ) throws {
        let parent = try parent(of: path, root)
        let isNew = try Files.status(path.name, below: parent.raw) == nil
        try open(path, O_WRONLY | flags, root) { try Files.writeAll(Array(text.utf8), to: $0) }
        try isNew ? made(path, root, time) : set(time, on: path, root)
    }

    private static func open(
        _ path: TreePath,
        _ flags: CInt,
        _ root: CInt,
        _ body: (CInt) throws -> Void
    ) throws {
        let parent = try parent(of: path, root)
        // A fifo would wait for its reader, and a device is the machine's own.
        if let status = try Files.status(path.name, below: parent.raw), status.kind != .regular {
            throw SystemError("open", path.printable, .operationNotSupportedByDevice)
        }
        let file = try Files.open(path.name, below: parent.raw, flags | O_NOFOLLOW, mode: 0o644)
        try body(file.raw)
        try file.close()
    }

    private static func remove(_ path: TreePath, isDirectory: Bool, _ root: CInt, _ time: Timestamp) throws {
        let parent = try parent(of: path, root)
        try system("unlink", path.printable) {
            path.name.withCPath { unlinkat(parent.raw, $0, isDirectory ? CLINUX_AT_REMOVEDIR : 0) }
        }
        try setParent(time, of: path, root)
    }

    private static func made(_ path: TreePath, _ root: CInt, _ time: Timestamp) throws {
        try set(time, on: path, root)
        try setParent(time, of: path, root)
    }

    private static func setParent(_ time: Timestamp, of path: TreePath, _ root: CInt) throws {
        try set(time, on: path.parent ?? .root, root)
    }

    private static func set(_ time: Timestamp, on path: TreePath, _ root: CInt) throws {
        let parent = try parent(of: path, root)
        try system("utimensat", path.printable) {
            name(path).withCPath {
                clinux_utimensat(parent.raw, $0, time.seconds, time.nanoseconds, CLINUX_AT_SYMLINK_NOFOLLOW)
            }
        }
    }

    private static func name(_ path: TreePath) -> TreePath { path.isRoot ? "." : path.name }

    /// The open directory of `path`, which may be longer than PATH_MAX; of the root, itself.
    private static func parent(of path: TreePath, _ root: CInt) throws -> OwnedFD {
        var directory = try Files.open(".", below: root, CLINUX_O_PATH | O_DIRECTORY)
        for component in (path.parent ?? .root).components {
            directory = try Files.open(
                component,
                below: directory.raw,
                CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW
            )
        }
        return directory
    }
}
