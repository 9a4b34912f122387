// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

extension UnionFS {
    /// LOOKUP: the node at a name and its attributes; `nil` where there is nothing, for as long as nobody makes it.
    func lookup(_ parent: UInt64, _ name: Name) throws(Failure) -> fuse_entry_param? {
        tree.read()
        defer { tree.unlock() }
        if name.count > 255 { throw Failure(ENAMETOOLONG) }
        if name.isMark || name.isDots || name.count == 0 { return nil }
        tables.lock()
        defer { tables.unlock() }
        let directory = try directoryNode(parent)
        var status: stat?
        guard let slot = try find(name, in: directory, status: &status) else { return nil }
        let node = try node(at: slot, in: directory, status: &status)
        return try entry(node, status)
    }

    /// What a reply says of a node, which the kernel now knows once more.
    func entry(_ node: Node, _ status: stat?) throws(Failure) -> fuse_entry_param {
        var entry = fuse_entry_param()
        do throws(Failure) {
            if let status {
                entry.attr = shown(status, of: node)
            } else {
                entry.attr = try attributes(of: node)
            }
        } catch {
            drop(node)
            throw error
        }
        entry.ino = node.id
        entry.attr_timeout = validity(of: node)
        entry.entry_timeout = forever
        node.lookups &+= 1
        journal?.setLookups(of: node.id, node.lookups)
        cfuse_slot()?.pointee.node = node.id
        return entry
    }

    func find(_ name: Name, in node: Node) throws(Failure) -> Int32? {
        var status: stat?
        return try find(name, in: node, status: &status)
    }

    /// The slot of a name that is visible in a directory.
    ///
    /// - Parameter status: set where it had to be asked for, as the layer has it.
    private func find(_ name: Name, in node: Node, status found: inout stat?) throws(Failure) -> Int32? {
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        if let slot = directory.slot(of: name) { return directory.entries[Int(slot)].isVisible ? slot : nil }
        if directory.isComplete { return nil }
        if directory.parts.count > 1 {
            try readNames(of: node)
            guard let slot = directory.slot(of: name) else { return nil }
            return directory.entries[Int(slot)].isVisible ? slot : nil
        }
        guard let part = directory.parts.first else { return nil }
        let layer = layers[Int(part.layer)]
        var status = stat()
        let result = cfuse_stat(try descriptor(of: node, part: 0), name.bytes, &status)
        if result == -ENOENT || result == -ENOTDIR { return nil }
        try check(result)
        if layer.isWhiteout(status, name: name.count) { return nil }
        let slot = try directory.insert(name)
        directory.update(slot) { entry in
            if layer.isUpper { entry.flags.insert(.upper) } else { entry.lower = part.layer }
            entry.type = directoryType(status.type)
            entry.inode = layer.isUpper ? 0 : shownInode(status.inode, fileSystem: layer.fileSystem)
        }
        found = status
        return slot
    }

    /// The node at a visible name.
    ///
    /// - Parameter status: as the layer has it, where that is known; set where it had to be asked for.
    func node(at slot: Int32, in parent: Node, status result: inout stat?) throws(Failure) -> Node {
        guard let directory = parent.directory else { throw Failure(ENOTDIR) }
        let entry = directory.entries[Int(slot)]
        if let node = entry.node { return node }
        guard let name = entry.name else { throw Failure(EIO) }
        let isUpper = entry.flags.contains(.upper)
        let layer = isUpper ? 0 : entry.lower
        let place = Place(try descriptor(of: parent, layer: layer), name)
        let status = if let result { result } else { try place.status() }
        let node: Node
        if status.isDirectory {
            node = try makeDirectoryNode(entry, place, status, below: directory)
        } else {
            let fileSystem = layers[Int(layer)].fileSystem
            let key = FileKey(fileSystem: fileSystem, inode: status.inode)
            if status.st_nlink > 1, let known = groups[key] {
                node = known
            } else {
                let inode =
                    isUpper
                    ? upperInode(status, at: place)
                    : shownInode(status.inode, fileSystem: fileSystem)
                node = makeNode(type: status.type, inode: inode, layer: layer)
                if status.st_nlink > 1 {
                    node.key = key
                    groups[key] = node
                }
                note(node)
            }
        }
        attach(node, at: slot, in: parent)
        result = status
        return node
    }

    /// The number that an object of the upper shows.
    func upperInode(_ status: stat, at place: Place) -> UInt64 {
        inodes?.shown(status.inode, at: place) ?? status.inode
    }

    func node(at slot: Int32, in parent: Node) throws(Failure) -> Node {
        var status: stat?
        return try node(at: slot, in: parent, status: &status)
    }

    private func makeDirectoryNode(
        _ entry: Directory.Entry,
        _ place: Place,
        _ status: stat,
        below directory: Directory
    ) throws(Failure) -> Node {
        var parts: [Directory.Part] = []
        if entry.flags.contains(.upper) { parts.append(Directory.Part(layer: 0)) }
        if entry.flags.isDisjoint(with: [.opaque, .whiteout]) {
            var next = entry.further
            while next >= 0 {
                let link = directory.chain[Int(next)]
                parts.append(Directory.Part(layer: link.layer))
                next = link.next
            }
        }
        if parts.isEmpty { parts.append(Directory.Part(layer: entry.lower)) }
        let inode: UInt64
        if directory.isComplete {
            inode = entry.inode
        } else {
            let layer = layers[Int(parts[0].layer)]
            inode =
                layer.isUpper
                ? upperInode(status, at: place)
                : shownInode(status.inode, fileSystem: layer.fileSystem)
        }
        let node = makeNode(type: S_IFDIR, inode: inode, layer: parts[0].layer)
        node.directory = Directory(parts: parts)
        note(node)
        return node
    }
}

/// Nobody but this server changes the tree.
let forever = 1e9

/// The DT_* of a file type.
func directoryType(_ type: mode_t) -> UInt8 { UInt8(truncatingIfNeeded: type >> 12) }
