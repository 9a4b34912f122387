// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

/// Bringing to an end what a dead server was doing, before the first request.
///
/// What it had answered is answered the same way again. A name that it was making is taken away: nobody was told of
/// it, and the request comes again. A name that it removed or moved stays so, and the request counts as done. Each step
/// may be cut off and done again.
extension UnionFS {
    /// - Parameter held: descriptors of open files without a name, by node.
    func takeOver(_ held: [UInt64: CInt]) throws(Failure) {
        guard let life, let journal, let state = journal.replay() else { throw Failure(EIO) }
        try inodes?.read()
        self.journal = nil
        restore(state, held: held)
        self.journal = journal
        if isWritable {
            try? WorkDirectory.clear(work)
            try? finishDirectory(life.pointee.lifted_directory)
            life.pointee.lifted_directory = 0
            try? finishFile(life.pointee.lifted_file)
            life.pointee.lifted_file = 0
            try? finishWhole(life.pointee.made_whole)
            life.pointee.made_whole = 0
        }
        let slots = (0..<CInt(CFUSE_SLOTS)).compactMap { cfuse_slot_at(life, $0) }
        // Moves first: what else was changed may lie in a directory that had just been moved.
        for slot in slots.filter(isMove) + slots.filter({ !isMove($0) }) {
            do throws(Failure) {
                try finish(slot, life)
            } catch {
                cfuse_finish(life, slot, error.code)
            }
        }
        dropIdle()
    }

    private func isMove(_ slot: UnsafeMutablePointer<cfuse_slot>) -> Bool {
        let kind = cfuse_intent_kind(slot.pointee.intent.kind)
        return slot.pointee.phase == CFUSE_INTENT.rawValue && (kind == CFUSE_MOVE || kind == CFUSE_EXCHANGE)
    }

    private func finish(
        _ slot: UnsafeMutablePointer<cfuse_slot>,
        _ life: UnsafeMutablePointer<cfuse_shared>
    ) throws(Failure) {
        switch slot.pointee.phase {
        case CFUSE_DONE.rawValue: return cfuse_finish(life, slot, 0)
        case CFUSE_INTENT.rawValue where try isDone(slot): return cfuse_finish(life, slot, 0)
        case CFUSE_INTENT.rawValue, CFUSE_RECEIVED.rawValue: break
        default: return
        }
        // The kernel was not told.
        if let handle = handles[slot.pointee.file] { release(handle) }
        if let node = nodes[slot.pointee.node], node.lookups > 0 {
            node.lookups &-= 1
            journal?.setLookups(of: node.id, node.lookups)
        }
        // A request that a server does not survive is not tried again.
        if faults.contains(life.pointee.death) {
            cfuse_finish(life, slot, EIO)
        } else {
            slot.pointee.phase = CFUSE_IDLE.rawValue
        }
    }

    // MARK: Changes of names

    /// One name of an intent, where it lies.
    private struct End {
        let parent: Node
        let directory: Directory
        let upper: CInt
        let name: Name

        var slot: Int32? { directory.slot(of: name) }
        var node: Node? { slot.flatMap { directory.entries[Int($0)].node } }

        /// What the upper has there; `nil` for nothing, or a whiteout that stands at the name itself.
        func status() throws(Failure) -> stat? {
            var status = stat()
            let result = cfuse_stat(upper, name.bytes, &status)
            if result == -ENOENT { return nil }
            try check(result)
            return name.count > longestWhiteoutName && status.isWhiteoutDevice ? nil : status
        }

        /// Whether the upper hides what is below.
        func isHidden() -> Bool {
            var status = stat()
            guard name.count > longestWhiteoutName else {
                return withWhiteoutName(name) { cfuse_stat(upper, $0, &status) } == 0
            }
            return cfuse_stat(upper, name.bytes, &status) == 0 && status.isWhiteoutDevice
        }
    }

    private func end(_ parent: UInt64, _ name: UnsafePointer<CChar>) throws(Failure) -> End? {
        guard let node = nodes[parent], let directory = node.directory, directory.hasUpper, !node.isOrphan
        else {
            return nil
        }
        return End(
            parent: node,
            directory: directory,
            upper: try descriptor(of: node, layer: 0),
            name: Name(name)
        )
    }

    /// Whether the change that the slot announces took place; if so its request is finished, else nothing of it is left.
    private func isDone(_ slot: UnsafeMutablePointer<cfuse_slot>) throws(Failure) -> Bool {
        let intent = slot.pointee.intent
        guard let from = try end(intent.parent, cfuse_intent_name(slot)) else { return false }
        let hides = intent.flags & CFUSE_HIDES.rawValue != 0
        switch cfuse_intent_kind(intent.kind) {
        case CFUSE_MAKE:
            try unmake(from, hides: hides)
            return false
        case CFUSE_LINK:
            guard let node = nodes[intent.node], try from.status() != nil else { return false }
            if node.locations.contains(where: { $0.parent !== from.parent || $0.slot != from.slot }) {
                try unmake(from, hides: hides)
                return false
            }
            // What had no name may get one only once.
            try answer(slot, node, try linked(node, from.name, in: from.parent, from.upper))
            return true
        case CFUSE_REMOVE:
            guard try from.status() == nil, !hides || from.isHidden() else { return false }
            if let node = from.node, let slot = from.slot {
                removed(
                    node,
                    slot,
                    from.parent,
                    wasUpper: intent.flags & CFUSE_HAS_UPPER.rawValue != 0
                )
            }
            return true
        case CFUSE_MOVE, CFUSE_EXCHANGE:
            guard let to = try end(intent.to, cfuse_intent_new_name(slot)), let there = try to.status() else {
                return false
            }
            let isMoved = try intent.inode != 0 ? there.inode == intent.inode : from.status() == nil
            guard isMoved else { return false }
            if cfuse_intent_kind(intent.kind) == CFUSE_EXCHANGE {
                notingTogether { exchanged(intent.node, from, to) }
            } else {
                try leave(from, to, device: intent.flags & CFUSE_LEAVES_DEVICE.rawValue != 0)
                notingTogether { moved(intent.node, from, to) }
            }
            return true
        default: return false
        }
    }

    /// Takes away what was being made at a name.
    private func unmake(_ end: End, hides: Bool) throws(Failure) {
        let isLong = end.name.count > longestWhiteoutName
        if hides, !isLong, !end.isHidden() {
            let fd = withWhiteoutName(end.name) {
                cfuse_open(end.upper, $0, O_WRONLY | O_CREAT | O_EXCL, 0o444)
            }
            cfuse_close(try check(fd))
        }
        if let status = try end.status() {
            if status.isDirectory {
                let fd = try check(
                    cfuse_open(end.upper, end.name.bytes, CFUSE_O_PATH | O_DIRECTORY, 0)
                )
                defer { cfuse_close(fd) }
                try clearMarks(fd)
                try check(cfuse_rmdir(end.upper, end.name.bytes))
            } else {
                try check(cfuse_unlink(end.upper, end.name.bytes))
            }
        }
        if hides, isLong, !end.isHidden() { try check(cfuse_mknod(end.upper, end.name.bytes, S_IFCHR, 0)) }
        if let node = end.node, let slot = end.slot {
            detach(node, from: slot, in: end.parent)
            end.directory.update(slot) { $0.flags.subtract([.upper, .opaque]) }
            end.directory.removeIfIdle(slot)
        }
    }

    /// Answers a request that made a name by what it made.
    private func answer(
        _ slot: UnsafeMutablePointer<cfuse_slot>,
        _ node: Node,
        _ status: stat
    ) throws(Failure) {
        var entry = fuse_entry_param()
        if slot.pointee.node == 0 {
            entry = try self.entry(node, status)
            slot.pointee.node = node.id
        } else {
            entry.attr = shown(status, of: node)
            entry.ino = node.id
            (entry.attr_timeout, entry.entry_timeout) = (validity(of: node), forever)
        }
        cfuse_answer_entry(slot, &entry)
    }

    private func leave(_ from: End, _ to: End, device: Bool) throws(Failure) {
        removeWhiteout(to.name, below: to.upper)
        if !device { return }
        let result = cfuse_mknod(from.upper, from.name.bytes, S_IFCHR, 0)
        if result != -EEXIST { try check(result) }
    }

    private func moved(_ id: UInt64, _ from: End, _ to: End) {
        guard let node = from.node, node.id == id, let slot = from.slot else { return }
        if let replaced = to.node, let slot = to.slot, replaced !== node {
            removed(replaced, slot, to.parent)
        }
        detach(node, from: slot, in: from.parent)
        from.directory.update(slot) { $0.flags.subtract([.upper, .opaque]) }
        from.directory.removeIfIdle(slot)
        // Without memory for a name the next request that needs it says so.
        guard let new = try? to.directory.insert(to.name) else { return }
        to.directory.update(new) { entry in
            entry.flags = entry.lower >= 0 ? [.upper, .opaque] : [.upper]
            entry.type = directoryType(node.type)
            entry.inode = node.inode
            entry.further = -1
        }
        attach(node, at: new, in: to.parent)
    }

    private func exchanged(_ id: UInt64, _ from: End, _ to: End) {
        guard let one = from.node, one.id == id, let other = to.node, let oneSlot = from.slot,
            let otherSlot = to.slot
        else { return }
        detach(one, from: oneSlot, in: from.parent)
        detach(other, from: otherSlot, in: to.parent)
        for (node, slot, end) in [(one, otherSlot, to), (other, oneSlot, from)] {
            end.directory.update(slot) { entry in
                entry.type = directoryType(node.type)
                entry.inode = node.inode
                entry.further = -1
            }
            attach(node, at: slot, in: end.parent)
        }
    }

    // MARK: Copies

    private func end(_ location: Node.Location) throws(Failure) -> End? {
        guard let directory = location.parent.directory else { return nil }
        return try end(location.parent.id, directory.name(location.slot).bytes)
    }

    private func finishDirectory(_ id: UInt64) throws(Failure) {
        guard let node = nodes[id], let directory = node.directory, !directory.hasUpper,
            let location = node.locations.first, try end(location)?.status()?.isDirectory ?? false
        else { return }
        cameUp(node, directory, at: location)
    }

    private func finishFile(_ id: UInt64) throws(Failure) {
        guard let node = nodes[id], !node.isDirectory, node.layer != 0, let first = node.locations.first,
            let end = try end(first), let status = try end.status(), status.type == node.type
        else { return }
        for other in node.locations.dropFirst() {
            try bringUp(other.parent)
            let (directory, name) = try upperPlace(other)
            try keepingTimes(of: directory) { () throws(Failure) in
                let result = cfuse_link(end.upper, end.name.bytes, directory, name)
                if result != -EEXIST { try check(result) }
            }
        }
        try moveToUpper(node, status, at: Place(end.upper, end.name.bytes))
    }

    private func finishWhole(_ id: UInt64) throws(Failure) {
        guard let node = nodes[id], let directory = node.directory, directory.hasUpper,
            directory.parts.count > 1, let location = node.locations.first,
            layers[0].isOpaque(try descriptor(of: node, layer: 0))
        else { return }
        becomeWhole(node, at: location)
    }
}

/// Signals by which a program ends that did something wrong.
private let faults: [CInt] = [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGSYS]
