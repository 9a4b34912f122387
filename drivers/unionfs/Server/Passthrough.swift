// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Which open files the kernel serves by itself, from a backing file.
///
/// Its rules: all opens of an inode at one time are passthrough with the same backing file, or none is. So after a
/// copy-up under an open reader the name gets a new node, which is found by looking it up again.
extension UnionFS {
    /// Below this a read costs less than telling the kernel of a backing file.
    private static let smallest = 64 << 10

    /// Decides for a new handle, and tells the reply.
    ///
    /// - Parameter new: the attributes of a file that was just made.
    func chooseBacking(for handle: Handle, _ place: Place, new: stat? = nil) throws(Failure) {
        guard passesThrough else { return }
        tables.lock()
        defer { tables.unlock() }
        let node = handle.node
        if node.backingUses > 0 {
            guard node.backingLayer == node.layer else {
                renew(node)
                throw Failure(ESTALE)
            }
            handle.isPassthrough = true
            node.backingUses &+= 1
            note(handle)
            cfuse_set_backing(node.backing)
            return
        }
        if node.handles.contains(where: { $0 !== handle && !$0.isPassthrough }) { return }
        guard try isWorthIt(handle, place, new) else { return }
        if handle.fd < 0 { handle.fd = try place.open(O_RDONLY) }
        let backing = cfuse_backing_open(device, handle.fd)
        if backing <= 0 {
            // Without privilege, or on a file system that is itself stacked too high.
            if backing == -EPERM || backing == -EACCES { passesThrough = false }
            return
        }
        node.backing = backing
        node.backingLayer = node.layer
        node.backingUses = 1
        handle.isPassthrough = true
        note(node)
        note(handle)
        node.isCacheStale = node.isCacheStale || handle.isWritable
        cfuse_set_backing(backing)
    }

    private func isWorthIt(_ handle: Handle, _ place: Place, _ new: stat?) throws(Failure) -> Bool {
        if new == nil, !handle.isWritable, handle.node.size >= 0, !isWritable || handle.node.layer != 0 {
            return handle.node.size >= Self.smallest
        }
        let status = if let new { new } else { try place.status() }
        // Before each write the kernel asks whether they go.
        if new != nil || handle.isWritable { return status.st_mode & (S_ISUID | S_ISGID) == 0 }
        return status.st_size >= Self.smallest
    }

    func releaseBacking(of node: Node) {
        node.backingUses &-= 1
        if node.backingUses == 0 {
            cfuse_backing_close(device, node.backing)
            node.backing = 0
            node.backingLayer = -1
            note(node)
        }
    }

    /// Gives a node's names to a new node, and leaves the old one to those who have it open.
    private func renew(_ node: Node) {
        if let place = try? place(of: node) {
            let fd = cfuse_open(place.fd, place.name, CFUSE_O_PATH, 0)
            if fd >= 0 { node.orphan = fd }
            hold(node)
        }
        let new = makeNode(type: node.type, inode: node.inode, layer: node.layer)
        new.hiddenLinks = node.hiddenLinks
        if let key = node.key {
            node.key = nil
            new.key = key
            groups[key] = new
        }
        notingTogether {
            note(node)
            note(new)
            for location in node.locations {
                location.parent.directory?.update(location.slot) { $0.node = new }
                new.locations.append(location)
                noteName(node, at: location.slot, in: location.parent, isGone: true)
                noteName(new, at: location.slot, in: location.parent)
            }
        }
        node.locations = []
    }
}
