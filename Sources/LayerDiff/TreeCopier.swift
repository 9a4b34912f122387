// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Copies trees with everything that a file is.
///
/// That is: content with its holes, owners, modes, attributes, times, hard links, devices, fifos, sockets. Attributes are taken as they are stored, so the copy has the form of the original.
package enum TreeCopier {
    /// Copies what is in the directory `source`, and its own metadata, to the empty directory `target`.
    ///
    /// Nothing may change either meanwhile. Large files share their blocks where the file system can do that.
    package static func copy(from source: CInt, to target: CInt) throws {
        let from = try Files.open(".", below: source, O_RDONLY | O_DIRECTORY)
        let to = try Files.open(".", below: target, O_RDONLY | O_DIRECTORY)
        try TreeCopy(from: from.raw, to: to.raw).run()
    }

    /// Makes the empty directory `root` what a tree without layers is: 0755, root's, of time 0, without attributes.
    package static func makeEmptyRoot(_ root: CInt) throws {
        let directory = try Files.open(".", below: root, O_RDONLY | O_DIRECTORY)
        try system("fchown") { fchown(directory.raw, 0, 0) }
        try Metadata.replaceAttributes(on: directory.raw, with: [], form: PlainForm())
        try system("fchmod") { fchmod(directory.raw, 0o755) }
        try Metadata.setTime(Timestamp(seconds: 0), on: directory.raw)
    }
}

private final class TreeCopy {
    private struct Directory {
        var name: TreePath
        var status: FileStatus
        var names: [TreePath]
    }

    private let source: CInt
    private let target: CInt
    private let sources: DirectoryStack
    private let targets: DirectoryStack
    private let entries = EntryCopier()
    private var frames: [Directory] = []
    /// Where the first name of a file of several names was copied to.
    private var linked: [UInt64: TreePath] = [:]

    init(from source: CInt, to target: CInt) {
        self.source = source
        self.target = target
        sources = DirectoryStack(root: source)
        targets = DirectoryStack(root: target)
    }

    func run() throws {
        let made = try Files.status(of: target)
        if made.uid != entries.identity.uid || made.gid != entries.identity.gid || made.mode & 0o2000 != 0 {
            // Else files made in it would take its group.
            try system("fchown") { fchown(target, entries.identity.uid, entries.identity.gid) }
            try system("fchmod") { fchmod(target, 0o700) }
        }
        try Metadata.replaceAttributes(on: target, with: [], form: PlainForm())
        let status = try Files.status(of: source)
        frames = [Directory(name: ".", status: status, names: try names())]
        while let last = frames.indices.last {
            if let name = frames[last].names.popLast() {
                try copy(name)
            } else {
                let done = frames.removeLast()
                if frames.isEmpty {
                    return try entries.describe(target, as: source, done.status, isFresh: false)
                }
                try entries.describe(targets.top, as: sources.top, done.status, isFresh: true)
                try sources.pop()
                try targets.pop()
            }
        }
    }

    private func names() throws -> [TreePath] { try Files.list(sources.top).map(\.name) }

    private func copy(_ name: TreePath) throws {
        guard let status = try Files.status(name, below: sources.top) else { return }
        if status.kind == .directory {
            try Files.makeDirectory(name, below: targets.top, mode: 0o700)
            try sources.push(name)
            try targets.push(name)
            frames.append(Directory(name: name, status: status, names: try names()))
            return
        }
        if status.links > 1 {
            let place = frames.dropFirst().reduce(TreePath.root) { $0.appending($1.name) }.appending(name)
            if let first = linked[status.inode] {
                let directory = try Files.openParent(of: first, in: target)
                try Metadata.link(first.name, below: directory.raw, to: name, below: targets.top)
                return
            }
            linked[status.inode] = place
        }
        try entries.copy(name, status, from: sources.top, to: targets.top)
    }
}

/// Copies single objects from directory to directory.
final class EntryCopier {
    let identity = ProcessIdentity()
    private let content = ContentCopier()

    /// Copies anything but a directory; `name` must not exist in `target`.
    ///
    /// - Parameter form: how `target` stores attributes; `source` gives them as a layer does.
    func copy(
        _ name: TreePath,
        _ status: FileStatus,
        from source: CInt,
        to target: CInt,
        form: any TreeForm = PlainForm()
    ) throws {
        switch status.kind {
        case .regular: return try copyRegular(name, status, from: source, to: target, form)
        case .symlink:
            let text = TreePath(bytes: try Files.readLink(name, below: source))
            try system("symlink", name.printable) {
                text.withCPath { t in name.withCPath { symlinkat(t, target, $0) } }
            }
        case .characterDevice, .blockDevice, .fifo, .socket:
            let mode = status.kind.formatBits | status.mode & 0o1777
            try system("mknod", name.printable) {
                name.withCPath { clinux_mknodat(target, $0, mode, status.rdev.major, status.rdev.minor) }
            }
        case .directory: throw SystemError("copy", name.printable, .isDirectory)
        }
        if status.uid != identity.uid || status.gid != identity.gid {
            try Metadata.setOwner(status.uid, status.gid, on: name, below: target)
        }
        for attribute in try form.stored(try ExtendedAttributes.read(name, below: source)) {
            try ExtendedAttributes.set(attribute, on: name, below: target)
        }
        if status.kind != .symlink { try Metadata.setMode(status.mode, on: name, below: target) }
        try Metadata.setTime(status.mtime, on: name, below: target)
    }

    private func copyRegular(
        _ name: TreePath,
        _ status: FileStatus,
        from source: CInt,
        to target: CInt,
        _ form: any TreeForm
    ) throws {
        let old = try Files.open(name, below: source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        let attributes = try ExtendedAttributes.read(of: old.raw)
        let isExact = identity.modeIsExact && attributes.isEmpty && status.mode & 0o6000 == 0
        let mode = isExact ? status.mode : 0o600
        let new = try Files.open(name, below: target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
        let copied = try content.copy(from: old.raw, to: new.raw, size: status.size, blocks: status.blocks)
        if copied != status.size { throw SystemError("copy", name.printable, .ioError) }
        if status.uid != identity.uid || status.gid != identity.gid {
            try system("fchown") { fchown(new.raw, status.uid, status.gid) }
        }
        for attribute in try form.stored(attributes) { try ExtendedAttributes.set(attribute, on: new.raw) }
        if !isExact { try system("fchmod") { fchmod(new.raw, status.mode) } }
        try Metadata.setTime(status.mtime, on: new.raw)
        try new.close()
    }

    /// Gives the directory `target` the metadata of `source`, whose status is given.
    func describe(_ target: CInt, as source: CInt, _ status: FileStatus, isFresh: Bool) throws {
        if !isFresh || status.uid != identity.uid || status.gid != identity.gid {
            try system("fchown") { fchown(target, status.uid, status.gid) }
        }
        let attributes = try ExtendedAttributes.read(of: source)
        if isFresh {
            for attribute in attributes { try ExtendedAttributes.set(attribute, on: target) }
        } else {
            try Metadata.replaceAttributes(on: target, with: attributes, form: PlainForm())
        }
        try system("fchmod") { fchmod(target, status.mode) }
        try Metadata.setTime(status.mtime, on: target)
    }
}
