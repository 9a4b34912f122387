// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// RENAME in all its forms.
extension UnionFS {
    /// One end of a rename, in the upper.
    private struct End {
        let name: Name
        let parent: Node
        let slot: Int32
        let upper: CInt
        /// What stands there.
        let node: Node?

        var entry: Directory.Entry { parent.directory?.entries[Int(slot)] ?? Directory.Entry(name: nil) }
    }

    func rename(
        _ oldParent: UInt64,
        _ oldName: Name,
        to newParent: UInt64,
        _ newName: Name,
        _ flags: UInt32
    ) throws(Failure) {
        tree.write()
        defer { tree.unlock() }
        let known = UInt32(CFUSE_RENAME_NOREPLACE | CFUSE_RENAME_EXCHANGE | CFUSE_RENAME_WHITEOUT)
        let exchanges = flags & UInt32(CFUSE_RENAME_EXCHANGE) != 0
        if flags & ~known != 0 || (exchanges && flags != UInt32(CFUSE_RENAME_EXCHANGE)) {
            throw Failure(EINVAL)
        }
        try newName.checkNew()
        let (oldDirectory, oldSlot) = try existing(oldName, in: oldParent)
        let node = try self.node(at: oldSlot, in: oldDirectory)
        let newDirectory = try directoryNode(newParent)
        if newDirectory.isOrphan { throw Failure(ENOENT) }
        try bringUp(newDirectory)
        if let table = newDirectory.directory, table.parts.count > 1 { try readNames(of: newDirectory) }
        let target = try find(newName, in: newDirectory)
        let replaced: Node? = if let target { try self.node(at: target, in: newDirectory) } else { nil }
        if replaced === node { return }
        if replaced == nil, exchanges { throw Failure(ENOENT) }
        if replaced != nil, flags & UInt32(CFUSE_RENAME_NOREPLACE) != 0 { throw Failure(EEXIST) }
        if let replaced, !exchanges { try checkReplaceable(replaced, by: node) }

        try makeMovable(node)
        if exchanges, let replaced { try makeMovable(replaced) }
        let new = try newDirectory.directory?.insert(newName) ?? -1
        let from = End(
            name: oldName,
            parent: oldDirectory,
            slot: oldSlot,
            upper: try descriptor(of: oldDirectory, layer: 0),
            node: node
        )
        let to = End(
            name: newName,
            parent: newDirectory,
            slot: new,
            upper: try descriptor(of: newDirectory, layer: 0),
            node: replaced
        )
        var leaves: UInt32 = 0
        if flags & UInt32(CFUSE_RENAME_WHITEOUT) != 0 { leaves = CFUSE_LEAVES_DEVICE.rawValue }
        // Of a plain move, whether it took place shows in the old name.
        let inode = try exchanges || leaves != 0 ? Place(from.upper, oldName.bytes).status().inode : 0
        cfuse_intend_move(
            (exchanges ? CFUSE_EXCHANGE : CFUSE_MOVE).rawValue,
            leaves,
            oldDirectory.id,
            oldName.bytes,
            newDirectory.id,
            newName.bytes,
            node.id,
            inode
        )
        do throws(Failure) {
            try exchanges ? exchange(from, to) : move(from, to)
        } catch {
            newDirectory.directory?.removeIfIdle(new)
            throw error
        }
        if flags & UInt32(CFUSE_RENAME_WHITEOUT) != 0 { try leaveDevice(from) }
    }

    private func checkReplaceable(_ replaced: Node, by node: Node) throws(Failure) {
        if replaced.isDirectory {
            if !node.isDirectory { throw Failure(EISDIR) }
            try checkEmpty(replaced)
        } else if node.isDirectory {
            throw Failure(ENOTDIR)
        }
    }

    /// Brings up a node so that a rename in the upper moves all of it.
    private func makeMovable(_ node: Node) throws(Failure) {
        if let directory = node.directory, refusesDirectoryRename,
            directory.parts.count > 1 || !directory.hasUpper
        {
            throw Failure(EXDEV)
        }
        try bringUp(node)
        if let directory = node.directory, directory.parts.count > 1 { try makeWhole(node) }
    }

    private func move(_ from: End, _ to: End) throws(Failure) {
        guard let node = from.node else { throw Failure(ENOENT) }
        let source = from.entry
        let target = to.entry
        if node.isDirectory, target.isInLower { try markOpaque(Place(try descriptor(of: node, layer: 0))) }
        if let replaced = to.node {
            try keepOrphan(replaced)
            if let directory = replaced.directory, directory.hasUpper {
                try emptyForReplacement(replaced, to)
            }
        } else if node.isDirectory {
            try clearDevice(to.name, in: to.parent)
        }
        var isMoved = false
        if source.isInLower {
            if from.name.count > longestWhiteoutName {
                try moveLeavingDevice(from, to)
                isMoved = true
            } else {
                try makeWhiteout(from.name, from.slot, in: from.parent, from.upper)
            }
        }
        if !isMoved { try check(cfuse_rename(from.upper, from.name.bytes, to.upper, to.name.bytes, 0)) }
        if to.entry.flags.contains(.whiteout) { removeWhiteout(to.name, below: to.upper) }
        settleMove(node, from, to)
    }

    /// The whiteout of a long name stands at the name itself: the kernel's own rename leaves it.
    private func moveLeavingDevice(_ from: End, _ to: End) throws(Failure) {
        try check(
            cfuse_rename(from.upper, from.name.bytes, to.upper, to.name.bytes, UInt32(CFUSE_RENAME_WHITEOUT))
        )
        from.parent.directory?.update(from.slot) { $0.flags.insert(.whiteout) }
    }

    /// Removes the marks from an empty directory that is to be replaced; what is below stays hidden meanwhile.
    private func emptyForReplacement(_ replaced: Node, _ end: End) throws(Failure) {
        let marker = try descriptor(of: replaced, layer: 0)
        if end.entry.isInLower, end.name.count <= longestWhiteoutName {
            try makeWhiteout(end.name, end.slot, in: end.parent, end.upper)
        }
        try clearMarks(marker)
    }

    /// Follows in the tables what happened on disk.
    private func settleMove(_ node: Node, _ from: End, _ to: End) {
        notingTogether { settle(node, from, to) }
    }

    private func settle(_ node: Node, _ from: End, _ to: End) {
        let type = from.entry.type
        // What the layers below have under the new name stays there, covered.
        let lower = to.entry.lower
        if let replaced = to.node { removed(replaced, to.slot, to.parent) }
        detach(node, from: from.slot, in: from.parent)
        // `removed` may have forgotten the slot.
        guard let table = to.parent.directory, let slot = try? table.insert(to.name) else { return }
        table.update(slot) { entry in
            entry.lower = lower
            entry.flags = lower >= 0 ? [.upper, .opaque] : [.upper]
            entry.type = type
            entry.inode = node.inode
            entry.further = -1
        }
        attach(node, at: slot, in: to.parent)
        from.parent.directory?.update(from.slot) { entry in
            entry.flags.subtract([.upper, .opaque])
            if !entry.flags.contains(.whiteout) { entry.lower = -1 }
        }
        from.parent.directory?.removeIfIdle(from.slot)
    }

    private func exchange(_ from: End, _ to: End) throws(Failure) {
        guard let one = from.node, let other = to.node else { throw Failure(ENOENT) }
        if one.isDirectory, to.entry.isInLower { try markOpaque(Place(try descriptor(of: one, layer: 0))) }
        if other.isDirectory, from.entry.isInLower {
            try markOpaque(Place(try descriptor(of: other, layer: 0)))
        }
        try check(
            cfuse_rename(from.upper, from.name.bytes, to.upper, to.name.bytes, UInt32(CFUSE_RENAME_EXCHANGE))
        )
        notingTogether { settleExchange(one, from, other, to) }
    }

    private func settleExchange(_ one: Node, _ from: End, _ other: Node, _ to: End) {
        let (oneType, otherType) = (from.entry.type, to.entry.type)
        detach(one, from: from.slot, in: from.parent)
        detach(other, from: to.slot, in: to.parent)
        from.parent.directory?.update(from.slot) { entry in
            entry.type = otherType
            entry.inode = other.inode
            entry.further = -1
            if entry.isInLower { entry.flags.insert(.opaque) }
        }
        to.parent.directory?.update(to.slot) { entry in
            entry.type = oneType
            entry.inode = one.inode
            entry.further = -1
            if entry.isInLower { entry.flags.insert(.opaque) }
        }
        attach(one, at: to.slot, in: to.parent)
        attach(other, at: from.slot, in: from.parent)
    }

    /// RENAME_WHITEOUT: what an overlay above this union asks for.
    private func leaveDevice(_ from: End) throws(Failure) {
        try clearDevice(from.name, in: from.parent)
        try check(cfuse_mknod(from.upper, from.name.bytes, S_IFCHR, 0))
        try add(from.name, to: from.parent, try Place(from.upper, from.name.bytes).status())
    }
}
