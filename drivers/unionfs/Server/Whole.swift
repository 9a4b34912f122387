// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Making a directory with content in layers below into one of the upper alone, so that a rename moves all of it.
///
/// A copy is built in the work directory: files of the upper are linked into it, those of the layers below are copied.
/// Then it takes the directory's place in one step. Cost: the tree's names, and the content that lies below, which
/// costs nothing where the file system clones.
extension UnionFS {
    func makeWhole(_ node: Node) throws(Failure) {
        guard let location = node.locations.first else { throw Failure(ESTALE) }
        try bringUpGroups(below: node)
        life?.pointee.made_whole = node.id
        defer { life?.pointee.made_whole = 0 }
        let (upper, name) = try upperPlace(location)
        try keepingTimes(of: upper) { () throws(Failure) in
            try stage { (stage: UnsafePointer<CChar>) throws(Failure) in
                do throws(Failure) {
                    try copyDirectory(node, to: work, stage)
                    try check(cfuse_rename(work, stage, upper, name, UInt32(CFUSE_RENAME_EXCHANGE)))
                } catch {
                    removeTree(stage, below: work)
                    throw error
                }
                removeTree(stage, below: work)
            }
        }
        becomeWhole(node, at: location)
    }

    /// Brings up every file of several names, which may have names elsewhere.
    private func bringUpGroups(below top: Node) throws(Failure) {
        var pending = [top]
        top.pins &+= 1
        defer {
            for node in pending {
                node.pins &-= 1
                drop(node)
            }
        }
        while let node = pending.popLast() {
            defer {
                node.pins &-= 1
                drop(node)
            }
            try forEachChild(of: node) { (slot: Int32, _: Name) throws(Failure) in
                let child = try self.node(at: slot, in: node)
                if child.isDirectory {
                    child.pins &+= 1
                    pending.append(child)
                } else {
                    if child.layer != 0, child.key != nil { try bringUp(child) }
                    drop(child)
                }
            }
        }
    }

    private func forEachChild(
        of node: Node,
        _ body: (Int32, Name) throws(Failure) -> Void
    ) throws(Failure) {
        try readNames(of: node)
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        for index in directory.entries.indices where directory.entries[index].isVisible {
            let slot = Int32(truncatingIfNeeded: index)
            try body(slot, directory.name(slot))
        }
    }

    /// A directory in hand: the union's, and the copy's descriptor and status.
    private struct Frame {
        let node: Node
        let fd: CInt
        let status: stat
        /// Slots still to copy.
        var slots: [Int32]
    }

    private func copyDirectory(
        _ top: Node,
        to directory: CInt,
        _ name: UnsafePointer<CChar>
    ) throws(Failure) {
        var frames: [Frame] = []
        defer {
            for frame in frames {
                cfuse_close(frame.fd)
                frame.node.pins &-= 1
                drop(frame.node)
            }
        }
        frames.append(try startDirectory(top, below: directory, name))
        while let last = frames.indices.last {
            guard let slot = frames[last].slots.popLast() else {
                let frame = frames.removeLast()
                defer {
                    cfuse_close(frame.fd)
                    frame.node.pins &-= 1
                    drop(frame.node)
                }
                try finish(frame, isTop: frames.isEmpty)
                continue
            }
            guard let table = frames[last].node.directory else { throw Failure(ENOTDIR) }
            let child = try self.node(at: slot, in: frames[last].node)
            let childName = table.name(slot)
            if child.isDirectory {
                frames.append(try startDirectory(child, below: frames[last].fd, childName.bytes))
            } else {
                try copyChild(child, slot, table, to: frames[last].fd, childName)
                drop(child)
            }
        }
    }

    /// Only when all is in it: what a directory gives to what is made in it (a default ACL, its group) is not for copies.
    private func finish(_ frame: Frame, isTop: Bool) throws(Failure) {
        let copy = Place(frame.fd)
        if isTop { try markOpaque(copy) }
        try describe(copy, as: frame.status, place(of: frame.node), layer: frame.node.layer)
        try setTimes(frame.status, copy)
    }

    private func startDirectory(
        _ node: Node,
        below directory: CInt,
        _ name: UnsafePointer<CChar>
    ) throws(Failure) -> Frame {
        let source = try place(of: node)
        let status = try source.status()
        try check(cfuse_mkdir(directory, name, 0o700))
        let fd = try check(cfuse_open(directory, name, O_RDONLY | O_DIRECTORY, 0))
        do throws(Failure) {
            // One that was made here shows the number of the copy: its own is free for others once the copy is in its place.
            let copy = try Place(fd).status().inode
            let isOwn = node.layer == 0 && status.inode == node.inode
            try inodes?.record(copy, isOwn ? copy : node.inode, at: Place(fd))
            try readNames(of: node)
        } catch {
            cfuse_close(fd)
            throw error
        }
        node.pins &+= 1
        let table = node.directory
        let slots = (table?.entries.indices ?? 0..<0).filter { table?.entries[$0].isVisible ?? false }
        return Frame(node: node, fd: fd, status: status, slots: slots.map { Int32(truncatingIfNeeded: $0) })
    }

    private func copyChild(
        _ child: Node,
        _ slot: Int32,
        _ table: Directory,
        to directory: CInt,
        _ name: Name
    ) throws(Failure) {
        let source = try place(of: child)
        if child.layer == 0 {
            _ = try check(cfuse_link(source.fd, source.name, directory, name.bytes))
            return
        }
        let status = try source.status()
        if child.type == S_IFREG {
            let fd = try check(cfuse_open(directory, name.bytes, O_RDWR | O_CREAT | O_EXCL, 0o600))
            defer { cfuse_close(fd) }
            try fill(fd, from: source, status, layer: child.layer, keeping: .max)
        } else {
            try makeSpecial(source, status, layer: child.layer, directory, name.bytes)
        }
        let place = Place(directory, name.bytes)
        try inodes?.record(try place.status().inode, child.inode, at: place)
    }

    /// Follows in the tables: every node below lies in the upper now, and nowhere else.
    func becomeWhole(_ top: Node, at location: Node.Location) {
        notingTogether { settleWhole(top, at: location) }
    }

    private func settleWhole(_ top: Node, at location: Node.Location) {
        location.parent.directory?.update(location.slot) { entry in
            entry.flags.insert(.upper)
            if entry.isInLower { entry.flags.insert(.opaque) }
            entry.further = -1
        }
        var pending = [top]
        while let node = pending.popLast() {
            guard let directory = node.directory else { continue }
            for part in directory.parts where part.fd >= 0 {
                cfuse_close(part.fd)
                openParts &-= 1
            }
            directory.parts = [Directory.Part(layer: 0)]
            node.layer = 0
            renumber(node)
            note(node)
            for index in directory.entries.indices {
                let entry = directory.entries[index]
                guard entry.name != nil else { continue }
                let slot = Int32(truncatingIfNeeded: index)
                guard entry.isVisible else {
                    directory.update(slot) {
                        $0.flags = []
                        $0.lower = -1
                    }
                    directory.removeIfIdle(slot)
                    continue
                }
                directory.update(slot) { entry in
                    entry.flags = [.upper]
                    entry.lower = -1
                    entry.further = -1
                }
                guard let child = entry.node else { continue }
                if child.isDirectory {
                    pending.append(child)
                } else if child.layer != 0 {
                    child.layer = 0
                    child.hiddenLinks = 0
                    if let key = child.key, groups[key] === child { groups[key] = nil }
                    child.key = nil
                    note(child)
                    for handle in child.handles where !handle.isPassthrough && handle.fd >= 0 {
                        cfuse_close(handle.fd)
                        handle.fd = -1
                    }
                }
            }
        }
    }

    /// Has a directory of the upper show the number that it has now, where that is its own.
    private func renumber(_ node: Node) {
        guard let place = try? place(of: node), let status = try? place.status() else { return }
        let inode = upperInode(status, at: place)
        if inode == node.inode { return }
        node.inode = inode
        guard let session else { return }
        // The kernel keeps it with the attributes, and in what it was told of the directory above.
        fuse_lowlevel_notify_inval_inode(session, node.id, -1, 0)
        for location in node.locations {
            fuse_lowlevel_notify_inval_inode(session, location.parent.id, 0, 0)
        }
    }

    /// Removes a tree of the work directory as far as it goes; the next server clears what stays.
    func removeTree(_ name: UnsafePointer<CChar>, below directory: CInt) {
        try? WorkDirectory.removeTree(name, below: directory)
    }
}
