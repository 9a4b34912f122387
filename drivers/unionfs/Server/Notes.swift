// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

/// What is noted for the server that comes after this one.
extension UnionFS {
    /// Notes what a node is, its names and its count of lookups apart.
    func note(_ node: Node) {
        guard let journal else { return }
        var record = Journal.Node(
            id: node.id,
            inode: node.inode,
            type: UInt32(node.type),
            layer: node.layer
        )
        record.hiddenLinks = UInt32(clamping: node.hiddenLinks)
        record.key = node.key.map { Journal.Node.Key(fileSystem: $0.fileSystem, inode: $0.inode) }
        record.backing = node.backing
        record.backingLayer = node.backingLayer
        guard let directory = node.directory else { return journal.append(record) }
        journal.append(record, parts: directory.parts.count) { directory.parts[$0].layer }
    }

    func note(_ handle: Handle) {
        journal?.open(
            handle.id,
            handle.node.id,
            flags: handle.flags,
            isPassthrough: handle.isPassthrough
        )
    }

    /// Notes that a node stands at a name, or no longer.
    func noteName(_ node: Node, at slot: Int32, in parent: Node, isGone: Bool = false) {
        guard let journal, let name = parent.directory?.name(slot) else { return }
        if isGone {
            journal.detach(node.id, from: name.bytes, name.count, in: parent.id)
        } else {
            journal.attach(node.id, at: name.bytes, name.count, in: parent.id)
        }
    }

    /// Has all that `body` notes known to the next server, or nothing of it.
    ///
    /// Callers hold `tree` for writing.
    func notingTogether(_ body: () -> Void) {
        guard let journal else { return body() }
        journal.together(body)
    }

    /// Has the descriptor of an open file that has no name held by whoever starts the next server.
    ///
    /// Others that have none are not: no program reads or writes them.
    func hold(_ node: Node) {
        guard journal != nil, node.orphan >= 0, !node.handles.isEmpty else { return }
        if cfuse_pass(node.id, node.orphan) == 0 { node.isHeld = true }
    }

    func letGo(_ node: Node) {
        guard node.isHeld else { return }
        cfuse_pass(node.id, -1)
        node.isHeld = false
    }

    /// Notes that something is about to be made or removed at a name.
    func intend(_ kind: cfuse_intent_kind, _ name: Name, in parent: Node, of node: Node? = nil) {
        var flags: UInt32 = 0
        if let directory = parent.directory, let slot = directory.slot(of: name) {
            let entry = directory.entries[Int(slot)]
            if entry.isInLower || entry.flags.contains(.whiteout) { flags |= CFUSE_HIDES.rawValue }
            if entry.flags.contains(.upper) { flags |= CFUSE_HAS_UPPER.rawValue }
        }
        cfuse_intend(kind.rawValue, flags, parent.id, name.bytes, node?.id ?? 0)
    }

    /// Writes the journal anew, shorter.
    ///
    /// Callers hold `tree` for writing.
    func rewriteJournal() {
        journal?.rewrite { journal in
            for node in nodes.values where !node.isRoot {
                note(node)
                journal.setLookups(of: node.id, node.lookups)
                for location in node.locations {
                    noteName(node, at: location.slot, in: location.parent)
                }
            }
            for handle in handles.values { note(handle) }
        }
    }
}

// MARK: Taking over

extension UnionFS {
    /// Makes the nodes and open files that a dead server had.
    ///
    /// Where they lie is found by name again when it is needed.
    ///
    /// - Parameter held: descriptors of open files without a name, by node.
    func restore(_ state: JournalState, held: [UInt64: CInt]) {
        nextID = max(nextID, (life?.pointee.last_node ?? 0) &+ 1)
        nextHandle = max(nextHandle, (life?.pointee.last_file ?? 0) &+ 1)
        for known in state.nodes.values {
            guard let record = known.node, record.id != root.id else { continue }
            nodes[record.id] = restored(record, known)
        }
        for (id, known) in state.nodes {
            guard let node = nodes[id] else { continue }
            for name in known.names { stand(node, at: name) }
        }
        for (id, file) in state.files {
            guard let node = nodes[file.node] else { continue }
            let handle = Handle(id: id, node: node, flags: file.flags, fd: -1)
            handle.isPassthrough = file.isPassthrough
            if file.isPassthrough { node.backingUses &+= 1 }
            handles[id] = handle
            node.handles.append(handle)
        }
        for (id, fd) in held {
            if let node = nodes[id] {
                // Whether it has lost its name shows once all is finished.
                node.orphan = fd
                node.isHeld = true
            } else {
                cfuse_pass(id, -1)
                cfuse_close(fd)
            }
        }
    }

    private func restored(_ record: Journal.Node, _ known: JournalState.Known) -> Node {
        let node = Node(
            id: record.id,
            type: mode_t(truncatingIfNeeded: record.type),
            inode: record.inode,
            layer: record.layer
        )
        node.lookups = known.lookups
        node.hiddenLinks = UInt(record.hiddenLinks)
        if let key = record.key {
            let key = FileKey(fileSystem: key.fileSystem, inode: key.inode)
            node.key = key
            groups[key] = node
        }
        node.backing = record.backing
        node.backingLayer = record.backingLayer
        // Whether it is, nobody knows any more.
        node.isCacheStale = true
        node.wasOpened = true
        if node.isDirectory {
            node.directory = Directory(parts: known.parts.map { Directory.Part(layer: $0) })
        }
        return node
    }

    /// Lets a node stand at a name, of which no more is known than that.
    private func stand(_ node: Node, at name: JournalState.Name) {
        guard let parent = nodes[name.parent], let directory = parent.directory else { return }
        let bytes = name.bytes.map { CChar(bitPattern: $0) } + [0]
        let slot = bytes.withUnsafeBufferPointer {
            try? directory.insert(Name($0.baseAddress.unsafelyUnwrapped, count: name.bytes.count))
        }
        guard let slot, directory.entries[Int(slot)].node == nil else { return }
        let layer = node.directory?.parts.first?.layer ?? node.layer
        directory.update(slot) { entry in
            entry.type = directoryType(node.type)
            entry.inode = node.inode
            if isWritable, layer == 0 {
                entry.flags = [.upper]
                if let below = node.directory?.parts.dropFirst().first { entry.lower = below.layer }
            } else {
                entry.lower = layer
            }
        }
        attach(node, at: slot, in: parent)
    }

    /// Forgets what nobody uses.
    func dropIdle() {
        for node in Array(nodes.values) {
            if node.orphan >= 0, !node.isOrphan {
                cfuse_close(node.orphan)
                node.orphan = -1
                letGo(node)
            }
            if node.backing > 0, node.backingUses == 0 {
                cfuse_backing_close(device, node.backing)
                node.backing = 0
                node.backingLayer = -1
                note(node)
            }
            drop(node)
        }
    }
}
