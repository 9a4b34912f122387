// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import Storage
import SystemPackage

/// The changes of a layer as entries of a layer, which give the same tree again when they are applied over the parent.
///
/// Entries come in path order, so directories before what is in them; a deletion is a whiteout. The first listed path
/// of a file of several names carries it, the others are hard links to that. An entry has exactly the size that it
/// announced, so a file that changes while it is read is an error, unless that is expected.
package final class ChangeStream: LayerEntrySource {
    package let label: String
    private let changes: [Change]
    private let tree: SharedFD
    private let form: any TreeForm
    private let mayChange: Bool
    private var position = 0
    /// Directories on the way to the last entry, the lowest last.
    private var open: [(path: TreePath, fd: SharedFD)] = []
    /// The regular file that `next` gave last.
    private var current: (path: TreePath, fd: SharedFD, status: FileStatus)?
    private var linked: [FileKey: TreePath] = [:]
    private let copier = ContentCopier()
    private lazy var buffer = PieceBuffer()

    /// More than a few are not worth their descriptors.
    private static let mostOpen = 16

    private struct FileKey: Hashable {
        var inode: UInt64
        var device: DeviceNumber
    }

    /// - Parameter mayChange: whether somebody changes the tree meanwhile: what is gone is left out, and zeros are read
    ///   in place of what a file has lost.
    package init(_ changes: ChangeSet, label: String, mayChange: Bool = false) {
        self.label = label
        self.mayChange = mayChange
        self.changes = changes.changes
        tree = changes.tree
        form = changes.form
    }

    package func next() throws -> LayerEntry? {
        current = nil
        while position < changes.count {
            let change = changes[position]
            position += 1
            let found = try doing("read \(label), \(change.path)") { () throws -> LayerEntry? in
                do {
                    return try entry(for: change)
                } catch let error as SystemError where mayChange && error.meansGone {
                    return nil
                }
            }
            if let found { return found }
            if !mayChange { throw changed(change.path) }
        }
        return nil
    }

    /// `nil` for what is not there any more.
    private func entry(for change: Change) throws -> LayerEntry? {
        let path = change.path
        if path.name.bytes.starts(with: ".wh.".utf8) {
            throw StorageError(
                .invalid,
                "read \(label), \(path): a layer cannot hold this name, which would delete a file where it is unpacked",
                remedy: "rename or remove it in the container"
            )
        }
        if change.kind == .deleted { return LayerEntry(path: path, kind: .whiteout) }
        let directory = try openParent(of: path)
        let name: TreePath = path.isRoot ? "." : path.name
        guard let status = try Files.status(name, below: directory) else { return nil }
        if status.isWhiteoutDevice || form.isWhiteout(status, named: name) {
            throw StorageError(
                .invalid,
                "read \(label), \(path): a layer cannot hold a character device 0/0, which means a deleted file",
                remedy: "remove it in the container"
            )
        }
        let hasOthers = status.kind != .directory && status.links > 1
        let key = FileKey(inode: status.inode, device: status.device)
        if hasOthers, let first = linked[key] {
            return describe(path, .hardLink(target: first), status, [])
        }
        let found = try entry(path, name, below: directory, status)
        if hasOthers, found != nil { linked[key] = path }
        return found
    }

    private func entry(
        _ path: TreePath,
        _ name: TreePath,
        below directory: CInt,
        _ status: FileStatus
    ) throws -> LayerEntry? {
        if status.kind == .regular { return try openRegular(path, name, below: directory) }
        if status.kind == .directory { return try openDirectory(path, name, below: directory, status) }
        let attributes = try form.attributes(of: name, below: directory)
        return describe(path, try kind(of: name, status, below: directory), status, attributes)
    }

    private func kind(
        of name: TreePath,
        _ status: FileStatus,
        below directory: CInt
    ) throws -> LayerEntry.Kind {
        switch status.kind {
        case .regular: .regular(size: status.size)
        case .directory: .directory
        case .symlink: .symlink(target: try Files.readLink(name, below: directory))
        case .characterDevice: .characterDevice(status.rdev)
        case .blockDevice: .blockDevice(status.rdev)
        case .fifo: .fifo
        case .socket: .socket
        }
    }

    private func describe(
        _ path: TreePath,
        _ kind: LayerEntry.Kind,
        _ status: FileStatus,
        _ attributes: [ExtendedAttribute]
    ) -> LayerEntry {
        LayerEntry(
            path: path,
            kind: kind,
            mode: status.mode,
            uid: status.uid,
            gid: status.gid,
            mtime: status.mtime,
            xattrs: attributes
        )
    }

    /// Everything that is said of a regular file comes from one open file.
    private func openRegular(_ path: TreePath, _ name: TreePath, below directory: CInt) throws -> LayerEntry?
    {
        let file = SharedFD(try Files.open(name, below: directory, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
        let status = try Files.status(of: file.raw)
        guard status.kind == .regular else { return nil }
        current = (path, file, status)
        return describe(path, .regular(size: status.size), status, try form.attributes(of: file.raw))
    }

    /// A directory stays open for what is listed below it.
    private func openDirectory(
        _ path: TreePath,
        _ name: TreePath,
        below directory: CInt,
        _ status: FileStatus
    ) throws -> LayerEntry {
        let opened = SharedFD(try Files.openDirectory(name, below: directory))
        hold(path, opened)
        return describe(path, .directory, status, try form.attributes(of: opened.raw))
    }

    private func hold(_ path: TreePath, _ directory: SharedFD) {
        if open.count == Self.mostOpen { open.removeFirst() }
        open.append((path, directory))
    }

    private func openParent(of path: TreePath) throws -> CInt {
        let wanted = path.parent ?? .root
        while let last = open.last, !wanted.isWithin(last.path) { open.removeLast() }
        if let last = open.last, last.path == wanted { return last.fd.raw }
        let opened = SharedFD(try Files.openParent(of: path, in: tree.raw))
        hold(wanted, opened)
        return opened.raw
    }

    private func changed(_ path: TreePath) -> StorageError {
        StorageError(
            .system,
            "read \(label), \(path): it was changed while it was read",
            remedy: "pause or stop what writes to it"
        )
    }

    package func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard let current else { return }
        try doing("read \(label), \(current.path)") {
            let buffer = buffer.bytes
            var offset: Int64 = 0
            while offset < current.status.size {
                let wanted = Int(min(Int64(buffer.count), current.status.size - offset))
                let count = try system("read") {
                    pread(current.fd.raw, buffer.baseAddress, wanted, Int(offset))
                }
                if count == 0 {
                    if !mayChange { throw changed(current.path) }
                    UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                        .initializeMemory(as: UInt8.self, repeating: 0)
                }
                let given = count == 0 ? wanted : count
                try body(UnsafeRawBufferPointer(rebasing: buffer[..<given]))
                offset += Int64(given)
            }
        }
    }

    package func writeContent(to file: CInt) throws {
        guard let current else { return }
        try doing("copy \(label), \(current.path)") {
            let size = current.status.size
            let copied = try copier.copy(
                from: current.fd.raw,
                to: file,
                size: size,
                blocks: current.status.blocks
            )
            if copied != size, !mayChange { throw changed(current.path) }
        }
    }
}

/// Room for a piece of a file, made once for all files.
private final class PieceBuffer {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)

    deinit { bytes.deallocate() }
}
