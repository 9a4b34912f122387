// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Reads a directory in all its layers, top first, into its table of names.
private struct Listing {
    let union: UnionFS
    let node: Node
    let directory: Directory
    /// By slot, of directories: the last link of the chain, and the number of the topmost below the upper.
    var tails: [Int32: Int32] = [:]
    var lowerInodes: [Int32: UInt64] = [:]

    mutating func read() throws(Failure) {
        for slot in directory.entries.indices where directory.entries[slot].name != nil {
            directory.update(Int32(slot)) { entry in
                entry.flags = []
                entry.lower = -1
                entry.further = -1
            }
        }
        directory.chain = []
        var index = 0
        while index < directory.parts.count {
            let part = directory.parts[index]
            let layer = union.layers[Int(part.layer)]
            let marker = try union.descriptor(of: node, part: index)
            let fd = try check(cfuse_open(marker, ".", O_RDONLY | O_DIRECTORY, 0))
            defer { cfuse_close(fd) }
            let hides = try readPart(fd, part.layer, layer)
            index += 1
            if hides || (index < directory.parts.count && layer.isOpaque(fd)) { try cut(after: index) }
        }
        try settle()
    }

    /// Leaves out the layers below one that hides them.
    private func cut(after count: Int) throws(Failure) {
        while directory.parts.count > count {
            let part = directory.parts.removeLast()
            if part.fd >= 0 {
                cfuse_close(part.fd)
                union.openParts &-= 1
            }
        }
    }

    /// Whether the layer says that it hides those below.
    private mutating func readPart(_ fd: CInt, _ number: Int32, _ layer: Layer) throws(Failure) -> Bool {
        let size = 32 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { buffer.deallocate() }
        var hidden: [Int32] = []
        var isOpaque = false
        while true {
            let count = try check(cfuse_getdents(fd, buffer, size))
            if count == 0 { break }
            var offset = 0
            while offset < count {
                let entry = buffer + offset
                offset &+= Int(entry.loadUnaligned(fromByteOffset: 16, as: UInt16.self))
                let bytes = (entry + 19).assumingMemoryBound(to: CChar.self)
                let name = Name(UnsafePointer(bytes))
                if name.isDots { continue }
                if name.isDirectoryMark {
                    if strcmp(bytes, opaqueMark) == 0 { isOpaque = true }
                } else if name.isMark {
                    if name.count == 4 { continue }
                    hidden.append(try directory.insert(Name(name.bytes + 4, count: name.count &- 4)))
                } else {
                    let inode = entry.loadUnaligned(as: UInt64.self)
                    let type = entry.load(fromByteOffset: 18, as: UInt8.self)
                    try add(name, inode, type, fd, number, layer, &hidden)
                }
            }
        }
        for slot in hidden {
            directory.update(slot) { $0.flags.insert(layer.isUpper ? .whiteout : .closed) }
        }
        return isOpaque
    }

    private mutating func add(
        _ name: Name,
        _ inode: UInt64,
        _ type: UInt8,
        _ fd: CInt,
        _ number: Int32,
        _ layer: Layer,
        _ hidden: inout [Int32]
    ) throws(Failure) {
        var type = type
        if type == 0 || type == directoryType(S_IFCHR) {
            var status = stat()
            let result = cfuse_stat(fd, name.bytes, &status)
            if result == -ENOENT { return }
            try check(result)
            if layer.isWhiteout(status, name: name.count) {
                hidden.append(try directory.insert(name))
                return
            }
            type = directoryType(status.type)
        }
        let slot = try directory.insert(name)
        let isDirectory = type == directoryType(S_IFDIR)
        if layer.isUpper {
            directory.update(slot) { entry in
                entry.flags.insert(.upper)
                entry.type = type
                entry.inode = union.inodes?.shown(inode) ?? inode
            }
            return
        }
        let old = directory.entries[Int(slot)]
        if old.flags.contains(.closed) { return }
        let shown = shownInode(inode, fileSystem: layer.fileSystem)
        if old.lower < 0 {
            directory.update(slot) { entry in
                entry.lower = number
                if !isDirectory { entry.flags.insert(.closed) }
                if !entry.flags.contains(.upper) {
                    entry.type = type
                    entry.inode = shown
                }
            }
            lowerInodes[slot] = shown
        } else if !isDirectory {
            directory.update(slot) { $0.flags.insert(.closed) }
        }
        if isDirectory { link(slot, number) }
    }

    private mutating func link(_ slot: Int32, _ layer: Int32) {
        let index = Int32(truncatingIfNeeded: directory.chain.count)
        directory.chain.append((layer, -1))
        if let tail = tails.updateValue(index, forKey: slot) {
            directory.chain[Int(tail)].next = index
        } else {
            directory.update(slot) { $0.further = index }
        }
    }

    /// Finds out which directories of the upper stand alone, and forgets what is not there any more.
    private func settle() throws(Failure) {
        for index in directory.entries.indices {
            let entry = directory.entries[index]
            guard let name = entry.name else { continue }
            let slot = Int32(truncatingIfNeeded: index)
            if entry.flags.contains(.upper), entry.further >= 0, entry.type == directoryType(S_IFDIR) {
                let isAlone = try entry.flags.contains(.whiteout) ? true : isOpaque(name)
                directory.update(slot) { entry in
                    if isAlone {
                        entry.flags.insert(.opaque)
                    } else if let inode = lowerInodes[slot] {
                        entry.inode = inode
                    }
                }
            }
            directory.update(slot) { $0.flags.remove(.closed) }
            let now = directory.entries[index]
            if now.node == nil, !now.isVisible, !now.isInLower, !now.flags.contains(.whiteout) {
                directory.remove(slot)
            }
        }
    }

    private func isOpaque(_ name: UnsafeMutablePointer<CChar>) throws(Failure) -> Bool {
        let upper = try union.descriptor(of: node, layer: 0)
        let fd = cfuse_open(upper, name, CFUSE_O_PATH | O_DIRECTORY, 0)
        try check(fd)
        defer { cfuse_close(fd) }
        return union.layers[0].isOpaque(fd)
    }
}

extension UnionFS {
    /// Makes the table of a directory's names complete.
    func readNames(of node: Node) throws(Failure) {
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        if directory.isComplete { return }
        // An orphan that was open is empty, and its layers are gone.
        if !node.isOrphan {
            var listing = Listing(union: self, node: node, directory: directory)
            try listing.read()
        }
        directory.isComplete = true
        completeDirectories[node.id] = node
        completeNames &+= directory.knownCount
    }

    /// READDIR.
    func readDirectory(_ request: fuse_req_t, _ id: UInt64, _ size: Int, _ cookie: UInt64) throws(Failure) {
        try replyListing(request, id, size, after: cookie) { buffer, room, name, status, next, _ in
            var status = status
            let needed = fuse_add_direntry(request, buffer, room, name, &status, off_t(next))
            return needed > room ? 0 : needed
        }
    }

    /// READDIRPLUS: the kernel knows of each node that is listed from then on.
    func readDirectoryPlus(
        _ request: fuse_req_t,
        _ id: UInt64,
        _ size: Int,
        _ cookie: UInt64
    ) throws(Failure) {
        try replyListing(request, id, size, after: cookie) { buffer, room, name, status, next, child in
            var entry = fuse_entry_param()
            entry.attr = status
            // The size that an entry takes does not depend on what it says.
            if fuse_add_direntry_plus(request, nil, 0, name, nil, 0) > room { return 0 }
            if let (parent, slot) = child {
                var found: stat?
                // What cannot be looked at is listed without attributes.
                if let node = try? self.node(at: slot, in: parent, status: &found),
                    let full = try? self.entry(node, found)
                {
                    entry = full
                }
            }
            return fuse_add_direntry_plus(request, buffer, room, name, &entry, off_t(next))
        }
    }

    /// What an entry of a listing adds to `buffer`, which has `room`; 0 where that is too little.
    private typealias AddEntry = (
        _ buffer: UnsafeMutablePointer<CChar>, _ room: Int, _ name: UnsafePointer<CChar>,
        _ attributes: stat, _ cookie: UInt64, _ child: (Node, Int32)?
    ) -> Int

    private func replyListing(
        _ request: fuse_req_t,
        _ id: UInt64,
        _ size: Int,
        after cookie: UInt64,
        _ add: AddEntry
    ) throws(Failure) {
        guard let buffer = cfuse_buffer(size)?.assumingMemoryBound(to: CChar.self) else {
            throw Failure(ENOMEM)
        }
        tree.read()
        defer { tree.unlock() }
        tables.lock()
        defer { tables.unlock() }
        var used = 0
        try list(id, after: cookie) { name, status, next, child in
            let added = add(buffer + used, size &- used, name, status, next, child)
            used &+= added
            return added > 0
        }
        fuse_reply_buf(request, buffer, used)
    }

    /// The entries of a directory after `cookie`: `body` says whether it had room.
    private func list(
        _ id: UInt64,
        after cookie: UInt64,
        _ body: (_ name: UnsafePointer<CChar>, _ attributes: stat, _ cookie: UInt64, _ child: (Node, Int32)?)
            -> Bool
    ) throws(Failure) {
        let node = try directoryNode(id)
        guard let directory = node.directory else { throw Failure(ENOTDIR) }
        var status = stat()
        status.st_mode = S_IFDIR
        for (index, name) in [dotName, dotDotName].enumerated() where cookie <= UInt64(index) {
            let above = index == 0 ? node : node.locations.first?.parent ?? node
            status.st_ino = ino_t(above.inode)
            if !body(name, status, UInt64(index) + 1, nil) { return }
        }
        try readNames(of: node)
        for slot in directory.slots(after: cookie) {
            let entry = directory.entries[Int(slot)]
            guard entry.isVisible, let name = entry.name else { continue }
            status.st_mode = mode_t(entry.type) << 12
            status.st_ino = ino_t(entry.node?.inode ?? entry.inode)
            if !body(UnsafePointer(name), status, Directory.cookie(entry.hash), (node, slot)) { return }
        }
    }
}

nonisolated(unsafe) private let dotName: UnsafePointer<CChar> = UnsafePointer(strdup("."))
nonisolated(unsafe) private let dotDotName: UnsafePointer<CChar> = UnsafePointer(strdup(".."))
