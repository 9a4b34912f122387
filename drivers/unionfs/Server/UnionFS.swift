// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

/// The union: its layers, and the nodes that the kernel knows.
///
/// Locks: requests that change names or bring files up hold `tree` for writing, all others for reading; whoever holds it
/// for reading takes `tables` for whatever is in nodes and directories. Content is read and written under `tree` for
/// reading, so that no descriptor is exchanged meanwhile. Nothing waits for the union's own mount.
final class UnionFS: @unchecked Sendable {
    /// Top first.
    ///
    /// The first is the upper, if there is one.
    let layers: [Layer]
    let isWritable: Bool
    /// Staging directory below the work directory; -1 without an upper.
    let work: CInt
    let inodes: InodeMap?
    /// The connection; -1 until there is one.
    var device: CInt = -1
    let linkTable: LinkTable
    /// Who makes files.
    let ownUID = geteuid()
    let ownGID = getegid()
    var owners = Owners() { didSet { mapsOwners = !owners.areIdentity } }
    private(set) var mapsOwners = false
    let tree = TreeLock()
    let tables = TableLock()

    var nodes: [UInt64: Node] = [:]
    var handles: [UInt64: Handle] = [:]
    /// Nodes of files with several names.
    var groups: [FileKey: Node] = [:]
    let root: Node
    var nextID: UInt64 = 2
    var nextHandle: UInt64 = 1
    var nextStage: UInt64 = 0

    /// Whether the upper's file system makes unnamed files that can be linked, and clones.
    var canMakeUnnamed = true
    var canClone = true
    var canCopyRange = true
    var passesThrough = false
    var isVolatile = false
    /// Each time that a file is opened and read shows in its access time.
    var countsAccesses = false
    var refusesDirectoryRename = false
    var session: OpaquePointer?
    /// What the server that comes after this one must know; `nil` if none would.
    ///
    /// Whoever changes what it says notes it there, with `tree` held for writing or `tables`.
    var journal: Journal?
    var life: UnsafeMutablePointer<cfuse_shared>?

    // What is held beyond what the kernel knows, bounded by `trim`.
    var openParts = 0
    var completeDirectories: [UInt64: Node] = [:]
    var completeNames = 0
    /// Nodes that went since memory was given back.
    private var dropped = 0
    let mostParts: Int
    let mostNames = 300_000

    init(
        layers: [Layer],
        work: CInt,
        inodes: InodeMap?,
        links: LinkTable,
        descriptors: Int
    ) throws(Failure) {
        self.layers = layers
        self.work = work
        self.inodes = inodes
        linkTable = links
        isWritable = layers.first?.isUpper ?? false
        mostParts = max(64, descriptors / 3)
        let root = Node(id: 1, type: S_IFDIR, inode: 0, layer: 0, isRoot: true)
        var parts: [Directory.Part] = []
        for index in layers.indices {
            parts.append(
                Directory.Part(
                    layer: Int32(index),
                    fd: try check(fcntl(layers[index].fd, F_DUPFD_CLOEXEC, 3))
                )
            )
            if index + 1 < layers.count, layers[index].isOpaque(layers[index].fd) { break }
        }
        let shown = parts.count > 1 && layers[0].isUpper ? 1 : 0
        let layer = layers[Int(parts[shown].layer)]
        root.inode = shownInode(try Place(layer.fd).status().inode, fileSystem: layer.fileSystem)
        root.directory = Directory(parts: parts)
        self.root = root
        nodes[1] = root
    }

    // MARK: Nodes

    /// The node of a number that the kernel names.
    func node(_ id: UInt64) throws(Failure) -> Node {
        tables.lock()
        defer { tables.unlock() }
        guard let node = nodes[id] else { throw Failure(ESTALE) }
        return node
    }

    func directoryNode(_ id: UInt64) throws(Failure) -> Node {
        let node = try node(id)
        guard node.directory != nil else { throw Failure(ENOTDIR) }
        return node
    }

    func makeNode(type: mode_t, inode: UInt64, layer: Int32) -> Node {
        let node = Node(id: nextID, type: type, inode: inode, layer: layer)
        life?.pointee.last_node = nextID
        nextID &+= 1
        nodes[node.id] = node
        return node
    }

    func makeHandle(_ node: Node, flags: CInt, fd: CInt) -> Handle {
        tables.lock()
        defer { tables.unlock() }
        let handle = Handle(id: nextHandle, node: node, flags: flags, fd: fd)
        life?.pointee.last_file = nextHandle
        cfuse_slot()?.pointee.file = nextHandle
        nextHandle &+= 1
        handles[handle.id] = handle
        node.handles.append(handle)
        note(handle)
        hold(node)
        return handle
    }

    /// Lets a node stand at a name too.
    func attach(_ node: Node, at slot: Int32, in parent: Node) {
        parent.directory?.update(slot) { $0.node = node }
        parent.pins &+= 1
        node.locations.append(Node.Location(parent: parent, slot: slot))
        noteName(node, at: slot, in: parent)
    }

    /// Takes a name from the node that stands at it.
    func detach(_ node: Node, from slot: Int32, in parent: Node) {
        guard let index = node.locations.firstIndex(where: { $0.parent === parent && $0.slot == slot }) else {
            return
        }
        node.locations.remove(at: index)
        noteName(node, at: slot, in: parent, isGone: true)
        parent.directory?.update(slot) { $0.node = nil }
        parent.pins &-= 1
    }

    /// Forgets nodes that nobody uses, from `node` upwards.
    func drop(_ node: Node) {
        var pending = [node]
        while let node = pending.popLast() {
            guard node.isIdle, nodes[node.id] === node else { continue }
            nodes[node.id] = nil
            dropped &+= 1
            journal?.forget(node.id)
            letGo(node)
            if let key = node.key, groups[key] === node { groups[key] = nil }
            for location in node.locations {
                let parent = location.parent
                parent.directory?.update(location.slot) { $0.node = nil }
                parent.directory?.removeIfIdle(location.slot)
                parent.pins &-= 1
                pending.append(parent)
            }
            node.locations = []
            if let directory = node.directory {
                for part in directory.parts where part.fd >= 0 { openParts &-= 1 }
                if directory.isComplete { forgetComplete(node) }
            }
        }
    }

    func forget(_ id: UInt64, _ count: UInt64) {
        tree.read()
        tables.lock()
        if let node = nodes[id] {
            node.lookups = node.lookups > count ? node.lookups &- count : 0
            journal?.setLookups(of: id, node.lookups)
            drop(node)
        }
        tables.unlock()
        tree.unlock()
    }

    // MARK: Places

    /// The open directory of `node` in one of its layers; valid as long as `tree` is held.
    func descriptor(of node: Node, part index: Int) throws(Failure) -> CInt {
        tables.lock()
        defer { tables.unlock() }
        guard let directory = node.directory, index < directory.parts.count else { throw Failure(EIO) }
        if directory.parts[index].fd >= 0 { return directory.parts[index].fd }
        let layer = directory.parts[index].layer
        // Up to the next directory that is open, then down again.
        var way: [(node: Node, part: Int)] = [(node, index)]
        var fd: CInt = -1
        while fd < 0, let (below, _) = way.last {
            guard let parent = below.locations.first?.parent, let above = parent.directory,
                let part = above.parts.firstIndex(where: { $0.layer == layer })
            else { throw Failure(ESTALE) }
            fd = above.parts[part].fd
            if fd < 0 { way.append((parent, part)) }
        }
        while let (node, part) = way.popLast() {
            guard let location = node.locations.first, let above = location.parent.directory,
                let name = above.entries[Int(location.slot)].name
            else { throw Failure(ESTALE) }
            fd = try check(cfuse_open(fd, name, CFUSE_O_PATH | O_DIRECTORY, 0))
            node.directory?.parts[part].fd = fd
            openParts &+= 1
        }
        return fd
    }

    /// The open directory of `node` in `layer`.
    func descriptor(of node: Node, layer: Int32) throws(Failure) -> CInt {
        tables.lock()
        defer { tables.unlock() }
        guard let index = node.directory?.parts.firstIndex(where: { $0.layer == layer }) else {
            throw Failure(EIO)
        }
        return try descriptor(of: node, part: index)
    }

    /// Where a node lies: the topmost directory, or the one file.
    func place(of node: Node) throws(Failure) -> Place {
        tables.lock()
        defer { tables.unlock() }
        if node.orphan >= 0 { return Place(node.orphan) }
        if node.isDirectory { return Place(try descriptor(of: node, part: 0)) }
        guard let location = node.locations.first,
            let name = location.parent.directory?.entries[Int(location.slot)].name
        else {
            if let handle = node.handles.first(where: { $0.fd >= 0 }) { return Place(handle.fd) }
            throw Failure(ESTALE)
        }
        return Place(try descriptor(of: location.parent, layer: node.layer), name)
    }

    // MARK: Bounds

    /// Whether more is held than should be.
    var isFull: Bool { openParts > mostParts || completeNames > mostNames || journal?.isLong ?? false }

    func forgetComplete(_ node: Node) {
        completeDirectories[node.id] = nil
        completeNames &-= node.directory?.knownCount ?? 0
        if completeNames < 0 { completeNames = 0 }
    }

    /// Closes and forgets what can be had again.
    func trim() {
        tree.write()
        defer { tree.unlock() }
        if openParts > mostParts {
            for node in nodes.values where !node.isRoot && !node.isOrphan {
                guard let directory = node.directory else { continue }
                for index in directory.parts.indices where directory.parts[index].fd >= 0 {
                    cfuse_close(directory.parts[index].fd)
                    directory.parts[index].fd = -1
                    openParts &-= 1
                }
            }
        }
        while completeNames > mostNames / 2, !completeDirectories.isEmpty {
            guard let (id, node) = completeDirectories.first else { break }
            completeDirectories[id] = nil
            completeNames &-= node.directory?.knownCount ?? 0
            node.directory?.forgetNames()
        }
        if completeDirectories.isEmpty { completeNames = 0 }
        if journal?.isLong ?? false { rewriteJournal() }
    }

    /// Gives memory back to the system when most of what the kernel knew is forgotten.
    func giveBack() {
        tables.lock()
        let isMuch = dropped > 20_000 && dropped > nodes.count
        if isMuch { dropped = 0 }
        tables.unlock()
        guard isMuch else { return }
        tree.write()
        defer { tree.unlock() }
        // A dictionary never gets smaller by itself.
        nodes = nodes.filter { _ in true }
        rewriteJournal()
        cfuse_trim_memory()
    }
}
