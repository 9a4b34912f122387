// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
package import Storage
import SystemPackage

/// Compares one object of a tree with the object of the same path in its parent's tree, exactly.
///
/// Counts: type, mode, owner, device number, size, mtime (ns), link target, extended attributes, content. Does not
/// count: access and change time, inode number, and what a directory holds. Hard-link groups are the caller's, who
/// sees more than one path: `hasGroup` says whether there is one to look at.
package struct EntryComparison {
    private let parentForm: any TreeForm
    private let treeForm: any TreeForm
    private let buffer = ComparisonBuffer()

    package init(parentForm: any TreeForm = PlainForm(), treeForm: any TreeForm) {
        self.parentForm = parentForm
        self.treeForm = treeForm
    }

    /// An object by its place: a single name below an open directory, or `.` for the directory itself.
    package struct Place {
        package var directory: CInt
        package var name: TreePath
        package var status: FileStatus

        package init(_ name: TreePath, below directory: CInt, status: FileStatus) {
            self.directory = directory
            self.name = name
            self.status = status
        }

        /// `nil` if there is no such name.
        package init?(_ name: TreePath, below directory: CInt) throws(SystemError) {
            guard let status = try Files.status(name, below: directory) else { return nil }
            self.init(name, below: directory, status: status)
        }
    }

    /// Whether either object is a file of several names, so that their groups must be compared too.
    package static func hasGroup(_ parent: FileStatus, _ tree: FileStatus) -> Bool {
        tree.kind != .directory && parent.kind != .directory && (tree.links > 1 || parent.links > 1)
    }

    /// Whether the two differ; content is read last, and not at all if `trustingContent`, because the caller knows.
    package func differ(
        _ parent: Place,
        _ tree: Place,
        trustingContent: Bool = false
    ) throws(SystemError) -> Bool {
        let (old, new) = (parent.status, tree.status)
        guard old.kind == new.kind, old.mode == new.mode, old.uid == new.uid, old.gid == new.gid,
            old.mtime == new.mtime
        else { return true }
        if old.inode == new.inode, old.device == new.device, old.kind != .directory { return false }
        switch old.kind {
        case .regular: if old.size != new.size { return true }
        case .characterDevice, .blockDevice: if old.rdev != new.rdev { return true }
        case .symlink:
            let target = try Files.readLink(parent.name, below: parent.directory)
            if try target != Files.readLink(tree.name, below: tree.directory) { return true }
        case .directory, .fifo, .socket: break
        }
        let attributes = try parentForm.attributes(of: parent.name, below: parent.directory)
        let others = try treeForm.attributes(of: tree.name, below: tree.directory)
        if attributes != others { return true }
        if old.kind != .regular || old.size == 0 || trustingContent { return false }
        return try contentDiffers(parent, tree)
    }

    /// Whether the roots of two trees differ; no parent is an empty tree, whose root is 0755, root's, of time 0.
    package func rootsDiffer(parent: CInt?, tree: CInt) throws(SystemError) -> Bool {
        let new = try Files.status(of: tree)
        guard let parent else {
            let attributes = try treeForm.attributes(of: ".", below: tree)
            return new.mode != 0o755 || new.uid != 0 || new.gid != 0 || new.mtime != Timestamp(seconds: 0)
                || !attributes.isEmpty
        }
        let old = try Files.status(of: parent)
        return try differ(Place(".", below: parent, status: old), Place(".", below: tree, status: new))
    }

    private func contentDiffers(_ parent: Place, _ tree: Place) throws(SystemError) -> Bool {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
        let old = try Files.open(parent.name, below: parent.directory, flags)
        let new = try Files.open(tree.name, below: tree.directory, flags)
        while true {
            let count = try Files.read(old.raw, into: buffer.first)
            guard try Files.read(new.raw, into: buffer.second) == count else { return true }
            if count == 0 { return false }
            guard let one = buffer.first.baseAddress, let two = buffer.second.baseAddress else {
                return false
            }
            if memcmp(one, two, count) != 0 { return true }
        }
    }
}

/// Two halves to compare; one allocation for a whole walk.
private final class ComparisonBuffer {
    private static let half = 128 << 10
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * half, alignment: 4096)

    var first: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(rebasing: memory[..<Self.half]) }
    var second: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[Self.half...])
    }

    deinit { memory.deallocate() }
}
