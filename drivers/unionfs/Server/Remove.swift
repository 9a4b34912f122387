// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Taking names away. What hides a lower object is made before the upper one goes, so that it never shows again.
extension UnionFS {
    /// UNLINK.
    func unlink(_ parent: UInt64, _ name: Name) throws(Failure) {
        tree.write()
        defer { tree.unlock() }
        let (directory, slot) = try existing(name, in: parent)
        let node = try self.node(at: slot, in: directory)
        if node.isDirectory { throw Failure(EISDIR) }
        try bringUp(directory)
        let upper = try descriptor(of: directory, layer: 0)
        let entry = try entryForChange(name, directory)
        intend(CFUSE_REMOVE, name, in: directory)
        try keepOrphan(node)
        let isGone = try entry.isInLower ? makeWhiteout(name, slot, in: directory, upper) : false
        let isUpper = entry.flags.contains(.upper)
        if isUpper, !isGone { try check(cfuse_unlink(upper, name.bytes)) }
        removed(node, slot, directory, wasUpper: isUpper)
    }

    /// RMDIR.
    func removeDirectory(_ parent: UInt64, _ name: Name) throws(Failure) {
        tree.write()
        defer { tree.unlock() }
        let (directory, slot) = try existing(name, in: parent)
        let node = try self.node(at: slot, in: directory)
        guard node.isDirectory, let own = node.directory else { throw Failure(ENOTDIR) }
        do throws(Failure) {
            try checkEmpty(node)
        } catch {
            // That nothing may be removed here is said first. This never removes a directory.
            if own.hasUpper, cfuse_unlink(try descriptor(of: directory, layer: 0), name.bytes) == -EPERM {
                throw Failure(EPERM)
            }
            throw error
        }
        try bringUp(directory)
        let upper = try descriptor(of: directory, layer: 0)
        let entry = try entryForChange(name, directory)
        intend(CFUSE_REMOVE, name, in: directory)
        // Kept open for whoever has it as working directory.
        let marker = try descriptor(of: node, part: 0)
        let isGone = try entry.isInLower ? makeWhiteout(name, slot, in: directory, upper) : false
        if own.hasUpper, !isGone {
            let result = cfuse_rmdir(upper, name.bytes)
            if result == -ENOTEMPTY || result == -EEXIST {
                // Only marks are in it, and what stands above hides the layers below from now on.
                try clearMarks(marker)
                try check(cfuse_rmdir(upper, name.bytes))
            } else {
                try check(result)
            }
        }
        removed(node, slot, directory)
    }

    // MARK: Steps

    /// The slot of a name that is to be changed.
    func existing(_ name: Name, in id: UInt64) throws(Failure) -> (Node, Int32) {
        let node = try directoryNode(id)
        if !isWritable { throw Failure(EROFS) }
        try name.checkSingle()
        if name.isMark { throw Failure(ENOENT) }
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        if directory.parts.count > 1 || !directory.hasUpper { try readNames(of: node) }
        guard let slot = try find(name, in: node) else { throw Failure(ENOENT) }
        return (node, slot)
    }

    /// What is known of a name, once its directory is in the upper.
    func entryForChange(_ name: Name, _ node: Node) throws(Failure) -> Directory.Entry {
        guard let directory = node.directory, let slot = directory.slot(of: name) else {
            throw Failure(ENOENT)
        }
        return directory.entries[Int(slot)]
    }

    func checkEmpty(_ node: Node) throws(Failure) {
        try readNames(of: node)
        if (node.directory?.visibleCount ?? 0) != 0 { throw Failure(ENOTEMPTY) }
    }

    /// Hides a name of the layers below; whether what the upper had there went with it.
    @discardableResult
    func makeWhiteout(_ name: Name, _ slot: Int32, in node: Node, _ upper: CInt) throws(Failure) -> Bool {
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        if directory.entries[Int(slot)].flags.contains(.whiteout) { return false }
        let replaces = name.count > longestWhiteoutName && directory.entries[Int(slot)].flags.contains(.upper)
        if name.count > longestWhiteoutName {
            try stage { (stage: UnsafePointer<CChar>) throws(Failure) in
                try check(cfuse_mknod(work, stage, S_IFCHR, 0))
                let flags = replaces ? CFUSE_RENAME_EXCHANGE : CFUSE_RENAME_NOREPLACE
                try check(cfuse_rename(work, stage, upper, name.bytes, UInt32(flags)))
                if replaces { try discard(stage) }
            }
        } else {
            try withWhiteoutName(name) { (mark) throws(Failure) in try makeMark(mark, below: upper) }
        }
        directory.update(slot) { $0.flags.insert(.whiteout) }
        return replaces
    }

    /// Makes the file that is a mark, unless it is there.
    func makeMark(_ mark: UnsafePointer<CChar>, below upper: CInt) throws(Failure) {
        let result = cfuse_mknod(upper, mark, S_IFREG | 0o444, 0)
        if result != -EEXIST { try check(result) }
    }

    /// Removes a file, or a directory in which only marks are, from the work directory.
    func discard(_ stage: UnsafePointer<CChar>) throws(Failure) {
        let result = cfuse_unlink(work, stage)
        guard result == -EISDIR || result == -EPERM else {
            _ = try check(result)
            return
        }
        let fd = try check(cfuse_open(work, stage, CFUSE_O_PATH | O_DIRECTORY, 0))
        defer { cfuse_close(fd) }
        try clearMarks(fd)
        try check(cfuse_rmdir(work, stage))
    }

    /// Keeps hold of an object that loses its last name while the kernel knows it.
    func keepOrphan(_ node: Node) throws(Failure) {
        guard node.locations.count == 1, node.orphan < 0 else { return }
        let place = try place(of: node)
        let fd = cfuse_open(place.fd, place.name, CFUSE_O_PATH, 0)
        // Without one more descriptor only a program that looks at the removed file again sees an error.
        if fd >= 0 { node.orphan = fd }
        hold(node)
    }

    /// Notes that a name is gone.
    ///
    /// - Parameter wasUpper: the upper had it; else a file of a layer below has a name less in front of it.
    func removed(_ node: Node, _ slot: Int32, _ parent: Node, wasUpper: Bool = true) {
        notingTogether {
            if !wasUpper, !node.isDirectory {
                node.hiddenLinks &+= 1
                note(node)
            }
            detach(node, from: slot, in: parent)
        }
        parent.directory?.update(slot) { entry in
            entry.flags.subtract([.upper, .opaque])
            if !entry.flags.contains(.whiteout) { entry.lower = -1 }
        }
        forgetInode(node)
        parent.directory?.removeIfIdle(slot)
        drop(node)
    }

    /// Removes the marks of a directory in which nothing else is.
    func clearMarks(_ directory: CInt) throws(Failure) {
        let fd = try check(cfuse_open(directory, dot, O_RDONLY | O_DIRECTORY, 0))
        defer { cfuse_close(fd) }
        let size = 32 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { buffer.deallocate() }
        while true {
            let count = try check(cfuse_getdents(fd, buffer, size))
            if count == 0 { return }
            var offset = 0
            while offset < count {
                let entry = buffer + offset
                offset &+= Int(entry.loadUnaligned(fromByteOffset: 16, as: UInt16.self))
                let name = Name(UnsafePointer((entry + 19).assumingMemoryBound(to: CChar.self)))
                if name.isDots { continue }
                if name.isMark {
                    // A directory so named is a stranger's; it is no mark and stays.
                    if cfuse_unlink(fd, name.bytes) < 0 { throw Failure(ENOTEMPTY) }
                } else if name.count > longestWhiteoutName {
                    let status = try Place(fd, name.bytes).status()
                    if status.isWhiteoutDevice { try check(cfuse_unlink(fd, name.bytes)) }
                }
            }
        }
    }

    /// Notes that an inode of the upper has no name any more: its number may go to another file.
    private func forgetInode(_ node: Node) {
        guard let inodes, !inodes.isEmpty, node.layer == 0, node.isOrphan, let place = try? place(of: node),
            let status = try? place.status(), node.isDirectory || status.st_nlink == 0
        else { return }
        inodes.forget(status.inode)
    }
}
