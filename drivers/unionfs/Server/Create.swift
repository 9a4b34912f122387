// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Who asks, as far as it matters for what is made.
struct Caller {
    var uid: UInt32
    var gid: UInt32
    var umask: mode_t

    init(_ request: fuse_req_t) {
        guard let context = fuse_req_ctx(request)?.pointee else {
            (uid, gid, umask) = (0, 0, 0o022)
            return
        }
        (uid, gid, umask) = (context.uid, context.gid, context.umask)
    }
}

/// Making names. Callers of what is not a request hold `tree` for writing.
extension UnionFS {
    /// MKNOD.
    func makeNode(
        _ parent: UInt64,
        _ name: Name,
        _ mode: mode_t,
        _ device: UInt64,
        _ caller: Caller
    ) throws(Failure) -> fuse_entry_param {
        try make(parent, name, caller, mode) { (upper, mode) throws(Failure) in
            try check(cfuse_mknod(upper, name.bytes, mode, device))
        }
    }

    /// SYMLINK.
    func makeSymlink(
        _ parent: UInt64,
        _ name: Name,
        to target: UnsafePointer<CChar>,
        _ caller: Caller
    ) throws(Failure) -> fuse_entry_param {
        try make(parent, name, caller, S_IFLNK | 0o777) { (upper, _) throws(Failure) in
            try check(cfuse_symlink(target, upper, name.bytes))
        }
    }

    /// MKDIR.
    func makeDirectory(
        _ parent: UInt64,
        _ name: Name,
        _ mode: mode_t,
        _ caller: Caller
    ) throws(Failure) -> fuse_entry_param {
        try make(parent, name, caller, S_IFDIR | (mode & 0o7777)) { (upper, mode) throws(Failure) in
            try check(cfuse_mkdir(upper, name.bytes, mode & 0o7777))
        }
    }

    private func make(
        _ parent: UInt64,
        _ name: Name,
        _ caller: Caller,
        _ mode: mode_t,
        _ body: (CInt, mode_t) throws(Failure) -> Void
    ) throws(Failure) -> fuse_entry_param {
        tree.write()
        defer { tree.unlock() }
        let directory = try directoryForNew(name, in: parent)
        let upper = try descriptor(of: directory, layer: 0)
        intend(CFUSE_MAKE, name, in: directory)
        try clearDevice(name, in: directory)
        let masked = try mode & S_IFMT == S_IFLNK ? mode : self.mode(mode, in: directory, caller)
        try body(upper, masked)
        let place = Place(upper, name.bytes)
        var status: stat
        do throws(Failure) {
            try own(place, below: directory, masked, caller)
            if masked & S_IFMT == S_IFDIR { try makeOpaqueIfNeeded(name, in: directory, place) }
            status = try place.status()
        } catch {
            if masked & S_IFMT == S_IFDIR {
                cfuse_unlink(upper, opaqueMark)
                cfuse_rmdir(upper, name.bytes)
            } else {
                cfuse_unlink(upper, name.bytes)
            }
            throw error
        }
        let node = try add(name, to: directory, status)
        return try entry(node, status)
    }

    /// CREATE and O_TMPFILE: the new file, open.
    func create(
        _ parent: UInt64,
        _ name: Name,
        _ mode: mode_t,
        _ flags: CInt,
        _ caller: Caller
    ) throws(Failure) -> (entry: fuse_entry_param, handle: Handle) {
        tree.write()
        defer { tree.unlock() }
        let isUnnamed = cfuse_is_unnamed() != 0
        let directory: Node
        if isUnnamed {
            directory = try directoryNode(parent)
            if directory.isOrphan { throw Failure(ENOENT) }
            try bringUp(directory)
        } else {
            directory = try directoryForNew(name, in: parent)
            intend(CFUSE_MAKE, name, in: directory)
            try clearDevice(name, in: directory)
        }
        let upper = try descriptor(of: directory, layer: 0)
        let masked = try self.mode(mode, in: directory, caller) & 0o7777
        let how = (flags & (O_SYNC | O_DSYNC | CFUSE_O_NOATIME)) | O_RDWR
        let fd =
            try isUnnamed
            ? check(cfuse_open(upper, dot, CFUSE_O_TMPFILE | how, masked))
            : check(cfuse_open(upper, name.bytes, O_CREAT | O_EXCL | how, masked))
        do throws(Failure) {
            try own(Place(fd), below: directory, masked | S_IFREG, caller)
            let status = try Place(fd).status()
            let node: Node
            if isUnnamed {
                node = makeNode(type: S_IFREG, inode: status.inode, layer: 0)
                node.orphan = fcntl(fd, F_DUPFD_CLOEXEC, 3)
                note(node)
            } else {
                node = try add(name, to: directory, status)
            }
            node.hasNoCapability = true
            node.wasOpened = true
            var entry = try entry(node, status)
            let handle = makeHandle(node, flags: flags, fd: fd)
            try chooseBacking(for: handle, Place(fd), new: status)
            if handle.hidesChanges { entry.attr_timeout = 0 }
            return (entry, handle)
        } catch {
            cfuse_close(fd)
            if !isUnnamed { cfuse_unlink(upper, name.bytes) }
            throw error
        }
    }

    /// LINK.
    func link(_ id: UInt64, _ parent: UInt64, _ name: Name) throws(Failure) -> fuse_entry_param {
        tree.write()
        defer { tree.unlock() }
        let node = try node(id)
        if node.isDirectory { throw Failure(EPERM) }
        let directory = try directoryForNew(name, in: parent)
        try bringUp(node)
        let upper = try descriptor(of: directory, layer: 0)
        intend(CFUSE_LINK, name, in: directory, of: node)
        try clearDevice(name, in: directory)
        let source = try place(of: node)
        try check(cfuse_link(source.fd, source.name, upper, name.bytes))
        return try entry(node, try linked(node, name, in: directory, upper))
    }

    /// Notes a further name of a node, which the upper has, unless it is noted; its status.
    func linked(_ node: Node, _ name: Name, in directory: Node, _ upper: CInt) throws(Failure) -> stat {
        let status = try Place(upper, name.bytes).status()
        if node.key == nil {
            let key = FileKey(fileSystem: 0, inode: status.inode)
            node.key = key
            groups[key] = node
            note(node)
        }
        let slot = directory.directory?.slot(of: name)
        if slot.flatMap({ directory.directory?.entries[Int($0)].node }) !== node {
            try add(name, to: directory, status, existing: node)
        }
        if node.orphan >= 0 {
            cfuse_close(node.orphan)
            node.orphan = -1
            letGo(node)
        }
        return status
    }

    // MARK: Steps

    /// The directory in which a new name is to be made: in the upper, and all of its names known that matter.
    func directoryForNew(_ name: Name, in id: UInt64) throws(Failure) -> Node {
        let node = try directoryNode(id)
        if !isWritable { throw Failure(EROFS) }
        try name.checkNew()
        if node.isOrphan { throw Failure(ENOENT) }
        try bringUp(node)
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        if directory.parts.count > 1 { try readNames(of: node) }
        if let slot = directory.slot(of: name), directory.entries[Int(slot)].isVisible {
            throw Failure(EEXIST)
        }
        return node
    }

    /// The mode with which something is made, whose directory may have an ACL in place of the caller's umask.
    func mode(_ mode: mode_t, in node: Node, _ caller: Caller) throws(Failure) -> mode_t {
        if let directory = node.directory, directory.defaultACL < 0 {
            let upper = try descriptor(of: node, layer: 0)
            directory.defaultACL = cfuse_getxattr(upper, noName, defaultACLName, nil, 0) > 0 ? 1 : 0
        }
        return node.directory?.defaultACL == 1 ? mode : mode & ~(caller.umask & 0o777)
    }

    /// Makes the caller the owner of what was made.
    func own(_ place: Place, below directory: Node, _ mode: mode_t, _ caller: Caller) throws(Failure) {
        let owner = owners.disk(caller)
        if owner.uid == ownUID, owner.gid == ownGID { return }
        let parent = try Place(descriptor(of: directory, layer: 0)).status()
        let gid = parent.st_mode & S_ISGID != 0 ? UInt32.max : owner.gid
        try check(cfuse_chown(place.fd, place.name, owner.uid, gid))
        // The change of owner took them away.
        if mode & (S_ISUID | S_ISGID) != 0, mode & S_IFMT != S_IFDIR, mode & S_IFMT != S_IFLNK {
            try check(cfuse_chmod(place.fd, place.name, mode & 0o7777))
        }
    }

    /// Takes away the whiteout of a long name, which stands at the name itself.
    func clearDevice(_ name: Name, in node: Node) throws(Failure) {
        guard name.count > longestWhiteoutName, let directory = node.directory,
            let slot = directory.slot(of: name), directory.entries[Int(slot)].flags.contains(.whiteout)
        else { return }
        try check(cfuse_unlink(descriptor(of: node, layer: 0), name.bytes))
        directory.update(slot) { $0.flags.remove(.whiteout) }
    }

    /// Marks a new directory that must not show what the layers below have under its name.
    func makeOpaqueIfNeeded(_ name: Name, in node: Node, _ place: Place) throws(Failure) {
        guard let directory = node.directory, let slot = directory.slot(of: name),
            directory.entries[Int(slot)].isInLower
        else { return }
        try markOpaque(place)
    }

    /// Leaves the mark of an opaque directory in it.
    func markOpaque(_ place: Place) throws(Failure) {
        let fd = try check(
            cfuse_open(place.fd, place.name.pointee == 0 ? dot : place.name, O_RDONLY | O_DIRECTORY, 0)
        )
        defer { cfuse_close(fd) }
        let status = try Place(fd).status()
        try makeMark(opaqueMark, below: fd)
        try setTimes(status, Place(fd))
    }

    /// Notes a new object of the upper, and removes the whiteout that it covers.
    @discardableResult
    func add(_ name: Name, to parent: Node, _ status: stat, existing: Node? = nil) throws(Failure) -> Node {
        guard let directory = parent.directory else { throw Failure(ENOTDIR) }
        let slot = try directory.insert(name)
        if directory.isComplete { completeNames &+= 1 }
        let isHiding = directory.entries[Int(slot)].flags.contains(.whiteout)
        directory.update(slot) { entry in
            entry.flags = entry.isInLower ? [.upper, .opaque] : [.upper]
            entry.type = directoryType(status.type)
            entry.inode = existing?.inode ?? status.inode
        }
        // It hides nothing that the object or its mark does not hide as well.
        if isHiding { removeWhiteout(name, below: try descriptor(of: parent, layer: 0)) }
        let node = existing ?? makeNode(type: status.type, inode: status.inode, layer: 0)
        if status.isDirectory, existing == nil {
            node.directory = Directory(parts: [Directory.Part(layer: 0)])
            node.directory?.isComplete = true
            completeDirectories[node.id] = node
        }
        inodesForgetStale(status.inode, existing)
        if existing == nil { note(node) }
        attach(node, at: slot, in: parent)
        return node
    }

    /// A number that the file system gave again has nothing to do with the file that had it before.
    private func inodesForgetStale(_ inode: UInt64, _ existing: Node?) {
        if existing == nil { inodes?.forget(inode) }
    }

    func removeWhiteout(_ name: Name, below upper: CInt) {
        if name.count > longestWhiteoutName { return }
        _ = withWhiteoutName(name) { cfuse_unlink(upper, $0) }
    }
}

nonisolated(unsafe) private let defaultACLName: UnsafePointer<CChar> = UnsafePointer(
    strdup("system.posix_acl_default")
)
