// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import LinuxSys

extension UnionFS {
    /// A layer's attributes as the union shows them.
    func shown(_ status: stat, of node: Node) -> stat {
        var status = status
        status.st_ino = ino_t(node.inode)
        if mapsOwners {
            status.st_uid = owners.users.shown(status.st_uid)
            status.st_gid = owners.groups.shown(status.st_gid)
        }
        node.size = Int64(status.st_size)
        if let directory = node.directory {
            // Of how many directories a merged one is the parent, only a full read would tell.
            if directory.parts.count > 1 { status.st_nlink = 1 }
            if node.isOrphan { status.st_nlink = 0 }
        } else if node.layer != 0 || !isWritable {
            if node.isOrphan {
                status.st_nlink = 0
            } else if node.hiddenLinks > 0 {
                status.st_nlink = max(
                    1,
                    status.st_nlink &- UInt(min(node.hiddenLinks, UInt(status.st_nlink)))
                )
            }
        }
        return status
    }

    func attributes(of node: Node) throws(Failure) -> stat {
        shown(try place(of: node).status(), of: node)
    }

    /// GETATTR.
    ///
    /// - Parameter withBirth: whether the reply is to tell the time of birth: that of the file that has the content, as
    ///   overlay does. After a copy-up that is another, which shows when the kernel asks again.
    func getAttributes(_ id: UInt64, withBirth: Bool) throws(Failure) -> (stat, validity: Double) {
        tree.read()
        defer { tree.unlock() }
        let node = try node(id)
        let place = try place(of: node)
        if withBirth { cfuse_set_birth(cfuse_birth(place.fd, place.name)) }
        // First: who closes the file meanwhile may have written to it after the look at it.
        let validity = knownValidity(of: node)
        return (shown(try place.status(), of: node), validity)
    }

    /// How many seconds the kernel may believe a node's attributes; with `tables` held, or `tree` for writing.
    func validity(of node: Node) -> Double { node.handles.contains(where: \.hidesChanges) ? 0 : forever }

    private func knownValidity(of node: Node) -> Double {
        tables.lock()
        defer { tables.unlock() }
        return validity(of: node)
    }

    /// SETATTR: everything that is not to be changed keeps its value; what is below comes up first.
    ///
    /// - Parameter process: who asks.
    func setAttributes(
        _ id: UInt64,
        _ new: stat,
        _ valid: CInt,
        handle: UInt64?,
        process: pid_t
    ) throws(Failure) -> (stat, validity: Double) {
        tree.write()
        defer { tree.unlock() }
        let node = try node(id)
        let sizes = valid & FUSE_SET_ATTR_SIZE != 0
        if sizes, new.st_size < 0 { throw Failure(EINVAL) }
        // What is asked for is checked before anything comes up for it.
        let uid = valid & FUSE_SET_ATTR_UID != 0 ? owners.users.disk(new.st_uid) : UInt32.max
        let gid = valid & FUSE_SET_ATTR_GID != 0 ? owners.groups.disk(new.st_gid) : UInt32.max
        guard let uid, let gid else { throw Failure(EINVAL) }
        if valid & Self.settable == 0 { try checkOwner(node, process) }
        try bringUp(node, keeping: sizes ? Int64(new.st_size) : .max)
        let place = try place(of: node)
        if sizes { try truncate(node, place, to: Int64(new.st_size), handle: handle) }
        let owners = valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)
        let times = valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)
        let mode = valid & FUSE_SET_ATTR_MODE
        if owners != 0 || (!sizes && times == 0 && mode == 0) {
            let before = try place.status()
            try check(cfuse_chown(place.fd, place.name, uid, gid))
            if losesSetGID(before) {
                try check(cfuse_chmod(place.fd, place.name, try place.status().st_mode & 0o7777 & ~S_ISGID))
            }
        }
        if mode != 0 { try check(cfuse_chmod(place.fd, place.name, new.st_mode & 0o7777)) }
        if times != 0 {
            var values = (
                time(new.st_atim, valid & FUSE_SET_ATTR_ATIME, valid & FUSE_SET_ATTR_ATIME_NOW),
                time(new.st_mtim, valid & FUSE_SET_ATTR_MTIME, valid & FUSE_SET_ATTR_MTIME_NOW)
            )
            try check(
                withUnsafePointer(to: &values) { pair in
                    pair.withMemoryRebound(to: timespec.self, capacity: 2) {
                        cfuse_utimens(place.fd, place.name, $0)
                    }
                }
            )
        }
        return (try attributes(of: node), knownValidity(of: node))
    }

    private static let settable =
        FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME
        | FUSE_SET_ATTR_MTIME

    /// A change of nothing takes set-id bits away: the kernel asks for it before somebody writes, and in the name of
    /// whoever calls `chown` with neither user nor group, be it a stranger.
    ///
    /// Nor does it say who asks: only requests that make something tell. The owner of a process's directory is its
    /// effective user, whatever else it hides (proc(5)).
    private func checkOwner(_ node: Node, _ process: pid_t) throws(Failure) {
        let status = try attributes(of: node)
        if node.isDirectory || status.st_mode & (S_ISUID | S_ISGID) == 0 { return }
        if node.handles.contains(where: \.isWritable) { return }
        let user = (try? Files.status("/proc/\(process)"))?.uid
        if user != 0, user != status.st_uid { throw Failure(EPERM) }
    }

    private func time(_ value: timespec, _ isSet: CInt, _ isNow: CInt) -> timespec {
        if isNow != 0 { return timespec(tv_sec: 0, tv_nsec: 0x3FFF_FFFF) }  // UTIME_NOW
        return isSet != 0 ? value : timespec(tv_sec: 0, tv_nsec: 0x3FFF_FFFE)  // UTIME_OMIT
    }

    private func truncate(_ node: Node, _ place: Place, to size: Int64, handle: UInt64?) throws(Failure) {
        guard node.type == S_IFREG else { throw Failure(node.isDirectory ? EISDIR : EINVAL) }
        if cfuse_drops_set_ids() != 0 { try dropSetIDs(place) }
        if let handle, let open = handles[handle], open.node === node, open.isWritable, open.fd >= 0 {
            try check(cfuse_ftruncate(open.fd, size))
            return
        }
        let fd = try place.open(O_WRONLY)
        defer { cfuse_close(fd) }
        try check(cfuse_ftruncate(fd, size))
    }

    /// Takes set-id bits away, as a write by someone without privilege does.
    ///
    /// - Returns: whether there were any.
    @discardableResult
    func dropSetIDs(_ place: Place) throws(Failure) -> Bool {
        let status = try place.status()
        let mode = status.st_mode
        var kept = mode & ~S_ISUID
        if mode & S_IXGRP != 0 || losesSetGID(status) { kept &= ~S_ISGID }
        if kept == mode { return false }
        try check(cfuse_chmod(place.fd, place.name, kept & 0o7777))
        return true
    }

    /// Whether a change by the caller takes the setgid bit of a file that its group may not run (setattr_should_drop_sgid).
    ///
    /// The kernel leaves that to us, and does not say in which groups the caller is.
    private func losesSetGID(_ status: stat) -> Bool {
        if status.st_mode & (S_IFMT | S_ISGID | S_IXGRP) != S_IFREG | S_ISGID { return false }
        return cfuse_keeps_set_gid(cfuse_caller(), owners.groups.mapped(status.st_gid)) == 0
    }

    /// STATFS: of the upper, or the topmost layer.
    func fileSystemStatus() throws(Failure) -> statvfs {
        var status = statvfs()
        guard let fd = layers.first?.fd else { throw Failure(EIO) }
        let result = cfuse_statfs(fd, &status)
        try check(result)
        status.f_namemax = 255
        return status
    }

    /// READLINK: the target's length, in `buffer`.
    func readLink(_ id: UInt64, into buffer: UnsafeMutablePointer<CChar>, _ size: Int) throws(Failure) -> Int
    {
        tree.read()
        defer { tree.unlock() }
        let place = try place(of: node(id))
        return try check(cfuse_readlink(place.fd, place.name, buffer, size))
    }
}
