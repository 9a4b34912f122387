// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

extension LayerApplication {
    /// No path of a layer may be deeper; each level costs work on every change of place.
    private static let deepest = 4096

    /// Goes to the directory `path`, making what is missing of it.
    func enter(_ path: ArraySlice<UInt8>, for entry: TreePath) throws {
        if sameBytes(path, current[...]) { return }
        while let end = ends.last, !isPrefix(end, of: path) { try leave() }
        var rest = path.dropFirst(current.isEmpty ? 0 : current.count + 1)
        while !rest.isEmpty {
            let component = rest.prefix { $0 != UInt8(ascii: "/") }
            try check(component, in: entry)
            try descend(TreePath(bytes: Array(component)), for: entry)
            rest = rest.dropFirst(component.count + 1)
        }
    }

    private func isPrefix(_ end: Int, of path: ArraySlice<UInt8>) -> Bool {
        path.count >= end && sameBytes(path.prefix(end), current[..<end])
            && (path.count == end || path[path.startIndex + end] == UInt8(ascii: "/"))
    }

    private func leave() throws {
        try stack.pop()
        ends.removeLast()
        trail.removeLast()
        current.removeSubrange((ends.last ?? 0)...)
    }

    /// Goes into `name`, which becomes an implied directory if this layer has not made it.
    func descend(_ name: TreePath, for entry: TreePath) throws {
        if let child = nodes[here].children[name.bytes] {
            try stack.push(name)
            moveOn(name, child)
        } else {
            let child = try makeDirectory(name, mode: 0o755, for: entry)
            if !nodes[child].isInherited {
                try own(fd: stack.top, uid: 0, gid: 0, below: nodes[child].parent)
            }
        }
    }

    private func moveOn(_ name: TreePath, _ child: Int) {
        if !current.isEmpty { current.append(UInt8(ascii: "/")) }
        current.append(contentsOf: name.bytes)
        ends.append(current.count)
        trail.append(child)
    }

    /// Makes the directory `name` here, or takes the parent's where the tree holds it, and goes into it.
    private func makeDirectory(_ name: TreePath, mode: UInt32, for entry: TreePath) throws -> Int {
        guard ends.count < Self.deepest else {
            throw refusal(entry, "deeper than \(Self.deepest) directories")
        }
        var hadOther = links.drop(name, in: here)
        if !isWholeTree, try form.removeWhiteout(name, below: stack.top) { hadOther = true }
        // Open to its owner while it is filled, and nothing that its children would inherit.
        let made = mode & 0o777 | 0o700
        var isInherited = false
        if try !Files.ensureDirectory(name, below: stack.top, mode: made) {
            isInherited = try isWholeTree && pushInherited(name)
            if !isInherited {
                try Files.unlink(name, below: stack.top)
                let wasOurs = nodes[here].written.remove(name.bytes) != nil
                hadOther = hadOther || wasOurs || !isWholeTree
                try Files.makeDirectory(name, below: stack.top, mode: made)
            }
        }
        if !isInherited { try stack.push(name) }
        let child = addNode(name, below: here)
        moveOn(name, child)
        if isInherited {
            try inherit(child)
        } else {
            nodes[child].mode =
                mode == made && identity.modeIsExact && !nodes[nodes[child].parent].givesGroup ? nil : mode
        }
        // Until its mode is set, a new directory has the setgid bit of the one above.
        nodes[child].givesGroup = nodes[child].givesGroup || nodes[nodes[child].parent].givesGroup
        let isNew = isWholeTree && !isInherited
        nodes[child].isHidden = nodes[child].isHidden || isNew
        nodes[child].isPurged = nodes[child].isPurged || isNew
        if hadOther { try hide(child, itself: true) }
        return child
    }

    private func pushInherited(_ name: TreePath) throws -> Bool {
        let fd = try systemAnswer(
            "open",
            name.printable,
            expecting: .notDirectory,
            .tooManySymbolicLinkLevels
        ) {
            name.withCPath {
                clinux_openat(stack.top, $0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
            }
        }
        guard let fd else { return false }
        try stack.push(OwnedFD(adopting: fd))
        return true
    }

    private func addNode(_ name: TreePath, below parent: Int) -> Int {
        var node = DirectoryNode(parent: parent, name: name.bytes)
        node.isHidden = nodes[parent].isPurged
        node.isPurged = nodes[parent].isPurged
        nodes.append(node)
        nodes[parent].children[name.bytes] = nodes.count - 1
        return nodes.count - 1
    }

    /// Takes over the parent's directory that the walk has just gone into.
    private func inherit(_ node: Int) throws {
        let status = try Files.status(of: stack.top)
        nodes[node].isInherited = true
        nodes[node].mtime = status.mtime
        nodes[node].givesGroup = givesGroup(status.gid, status.mode)
        nodes[node].defaultACL = try suspendDefaultACL(of: stack.top)
    }

    /// A directory gives its group by the setgid bit, or always on a mount with `grpid`.
    private func givesGroup(_ gid: UInt32, _ mode: UInt32) -> Bool {
        mode & 0o2000 != 0 || gid != identity.gid
    }

    /// New files would inherit it, so it is put back at the end.
    private func suspendDefaultACL(of fd: CInt) throws -> ExtendedAttribute? {
        guard let acl = try ExtendedAttributes.value(ACL.defaultName, of: fd) else { return nil }
        let name = Array(ACL.defaultName.utf8)
        try ExtendedAttributes.remove(name, from: ".", below: fd)
        return ExtendedAttribute(name: name, value: acl)
    }

    func adoptRoot() throws {
        let status = try Files.status(of: root)
        nodes[0].givesGroup = givesGroup(status.gid, status.mode)
        let acl = try suspendDefaultACL(of: root)
        if isWholeTree {
            nodes[0].isInherited = true
            nodes[0].mtime = status.mtime
            nodes[0].defaultACL = acl
        } else {
            // A store's own directory may have given it attributes that are no layer's.
            try Metadata.replaceAttributes(on: root, with: [], form: form)
            nodes[0].mode = 0o755
        }
    }

    /// Applies a directory's own entry.
    func applyDirectory(_ entry: LayerEntry, _ name: TreePath) throws {
        if nodes[here].children[name.bytes] != nil {
            try descend(name, for: entry.path)
            try describe(here, fd: stack.top, by: entry, isFresh: false)
        } else {
            let child = try makeDirectory(name, mode: entry.mode, for: entry.path)
            try describe(child, fd: stack.top, by: entry, isFresh: !nodes[child].isInherited)
        }
    }

    /// Gives a directory the metadata of its entry; what would disturb the making of its children waits for the end.
    func describe(_ node: Int, fd: CInt, by entry: LayerEntry, isFresh: Bool) throws {
        var now = entry.xattrs
        nodes[node].defaultACL = nil
        if let position = now.firstIndex(where: { $0.name.elementsEqual(ACL.defaultName.utf8) }) {
            nodes[node].defaultACL = now.remove(at: position)
        }
        if isFresh {
            try own(fd: fd, uid: entry.uid, gid: entry.gid, below: nodes[node].parent)
            for attribute in try form.stored(now) { try ExtendedAttributes.set(attribute, on: fd) }
        } else {
            try system("fchown") { fchown(fd, entry.uid, entry.gid) }
            try Metadata.replaceAttributes(on: fd, with: now, form: form)
        }
        if !isFresh || now.contains(where: ACL.isAccess) { nodes[node].mode = entry.mode }
        if givesGroup(entry.gid, 0) { nodes[node].givesGroup = true }
        nodes[node].mtime = entry.mtime
        nodes[node].isImplied = false
    }

    /// Sets the owner of a new object unless it has it from its maker.
    func own(fd: CInt, uid: UInt32, gid: UInt32, below parent: Int) throws {
        if uid == identity.uid, gid == identity.gid, parent < 0 || !nodes[parent].givesGroup { return }
        try system("fchown") { fchown(fd, uid, gid) }
    }

    func path(of node: Int) -> TreePath {
        var components: [[UInt8]] = []
        var next = node
        while next > 0 {
            components.append(nodes[next].name)
            next = nodes[next].parent
        }
        return TreePath(
            bytes: Array(components.reversed().joined(separator: CollectionOfOne(UInt8(ascii: "/"))))
        )
    }
}

func sameBytes(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    return left.withUnsafeBytes { l in
        right.withUnsafeBytes { r in
            guard let first = l.baseAddress, let second = r.baseAddress else { return true }
            return memcmp(first, second, l.count) == 0
        }
    }
}
