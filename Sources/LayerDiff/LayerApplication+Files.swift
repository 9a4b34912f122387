// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

extension LayerApplication {
    /// Makes anything that is neither a directory nor a link, in place of what stands there.
    func applyFile(_ entry: LayerEntry, _ name: TreePath, from source: any LayerEntrySource) throws {
        _ = links.drop(name, in: here)
        switch entry.kind {
        case .regular(let size): try applyRegular(entry, name, size: size, from: source)
        case .symlink(let target):
            guard !target.isEmpty, !target.contains(0) else {
                throw refusal(entry.path, "a symlink needs a target")
            }
            let text = TreePath(bytes: target)
            try create(name) { n in text.withCPath { symlinkat($0, stack.top, n) } }
            try describeByName(entry, name, isSymlink: true)
        case .characterDevice(let number):
            try applyNode(entry, name, .characterDevice, number)
        case .blockDevice(let number):
            try applyNode(entry, name, .blockDevice, number)
        case .fifo: try applyNode(entry, name, .fifo, DeviceNumber(major: 0, minor: 0))
        case .socket: try applyNode(entry, name, .socket, DeviceNumber(major: 0, minor: 0))
        case .directory, .hardLink, .whiteout, .opaque: return
        }
        if isWholeTree { nodes[here].written.insert(name.bytes) }
    }

    private func applyRegular(
        _ entry: LayerEntry,
        _ name: TreePath,
        size: Int64,
        from source: any LayerEntrySource
    ) throws {
        // Its owner must be able to set attributes; they would not be lost by the change of mode.
        let mode = entry.xattrs.isEmpty ? entry.mode & 0o1777 : entry.mode & 0o1777 | 0o600
        let file = OwnedFD(
            adopting: try create(name) {
                clinux_openat(stack.top, $0, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
            }
        )
        if size > 0 { try source.writeContent(to: file.raw) }
        try own(fd: file.raw, uid: entry.uid, gid: entry.gid, below: here)
        if !entry.xattrs.isEmpty {
            for attribute in try form.stored(entry.xattrs) {
                try ExtendedAttributes.set(attribute, on: file.raw)
            }
        }
        // After owner and content, which take setuid bits away.
        if mode != entry.mode || !identity.modeIsExact || entry.xattrs.contains(where: ACL.isAccess) {
            try system("fchmod") { fchmod(file.raw, entry.mode) }
        }
        try Metadata.setTime(entry.mtime, on: file.raw)
        try file.close()
    }

    private func applyNode(
        _ entry: LayerEntry,
        _ name: TreePath,
        _ kind: FileKind,
        _ number: DeviceNumber
    ) throws {
        // What the kernel's 32-bit device numbers hold; it would cut off the rest without a word.
        guard number.major <= 0xFFF, number.minor <= 0xF_FFFF else {
            throw refusal(entry.path, "Linux has no device number \(number.major):\(number.minor)")
        }
        let mode = kind.formatBits | entry.mode & 0o1777
        try create(name) { clinux_mknodat(stack.top, $0, mode, number.major, number.minor) }
        try describeByName(entry, name, isSymlink: false)
    }

    /// Metadata of what cannot be opened without effect.
    private func describeByName(_ entry: LayerEntry, _ name: TreePath, isSymlink: Bool) throws {
        if entry.uid != identity.uid || entry.gid != identity.gid || nodes[here].givesGroup {
            try Metadata.setOwner(entry.uid, entry.gid, on: name, below: stack.top)
        }
        if !entry.xattrs.isEmpty {
            for attribute in try form.stored(entry.xattrs) {
                try ExtendedAttributes.set(attribute, on: name, below: stack.top)
            }
        }
        let isExact =
            identity.modeIsExact && entry.mode & 0o6000 == 0 && !entry.xattrs.contains(where: ACL.isAccess)
        if !isSymlink, !isExact { try Metadata.setMode(entry.mode, on: name, below: stack.top) }
        try Metadata.setTime(entry.mtime, on: name, below: stack.top)
    }

    /// Runs a call that makes `name` here; if something is in the way, removes that first.
    @discardableResult
    private func create(_ name: TreePath, _ call: (UnsafePointer<CChar>) -> CInt) throws -> CInt {
        if let result = try systemAnswer(
            "create",
            name.printable,
            expecting: .fileExists,
            call: { name.passed(to: call) }
        ) {
            return result
        }
        try clear(name)
        return try system("create", name.printable) { name.withCPath(call) }
    }

    /// Removes what stands at `name` here, whoever made it.
    func clear(_ name: TreePath) throws {
        nodes[here].written.remove(name.bytes)
        if let child = nodes[here].children.removeValue(forKey: name.bytes) { nodes[child].parent = -1 }
        try Files.removeTree(name, below: stack.top)
    }

    /// Hides `name` in the layers below; what this layer has there stays.
    func applyWhiteout(_ name: TreePath) throws {
        if let child = nodes[here].children[name.bytes] { return try hide(child, itself: true) }
        if isWholeTree {
            if !nodes[here].written.contains(name.bytes) { try Files.removeTree(name, below: stack.top) }
        } else if try Files.status(name, below: stack.top) == nil {
            try form.makeWhiteout(name, below: stack.top)
        }
    }

    /// Hides what the layers below have in a directory of this layer, and with `itself` their directory as well.
    ///
    /// In a whole tree each directory is read at most once for this, however often a layer says it.
    func hide(_ node: Int, itself: Bool) throws {
        if itself { nodes[node].isHidden = true }
        if nodes[node].isPurged { return }
        if !isWholeTree {
            let directory = try Files.openBeneath(path(of: node), in: root, O_RDONLY | O_DIRECTORY)
            try form.makeOpaque(directory.raw)
        }
        var pending = [node]
        while let next = pending.popLast() {
            if nodes[next].isPurged { continue }
            nodes[next].isPurged = true
            for child in nodes[next].children.values {
                nodes[child].isHidden = true
                pending.append(child)
            }
            if isWholeTree { try removeInherited(in: next) }
        }
    }

    private func removeInherited(in node: Int) throws {
        let directory = try Files.openBeneath(path(of: node), in: root, O_RDONLY | O_DIRECTORY)
        for entry in try Files.list(directory.raw) {
            let name = entry.name.bytes
            if nodes[node].written.contains(name) || nodes[node].children[name] != nil { continue }
            try Files.removeTree(entry.name, below: directory.raw)
        }
    }
}
