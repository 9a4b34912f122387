// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

extension UnionFS {
    private func hides(_ attribute: UnsafePointer<CChar>, of node: Node) -> Bool {
        let layer = Int(node.directory?.parts.first?.layer ?? node.layer)
        return layers.indices.contains(layer) && layers[layer].readsOverlayForm
            && isOverlayAttribute(attribute)
    }

    /// GETXATTR: the value's length, in `buffer` if there is one.
    func getAttribute(
        _ id: UInt64,
        _ attribute: UnsafePointer<CChar>,
        _ buffer: UnsafeMutableRawPointer?,
        _ size: Int
    ) throws(Failure) -> Int {
        tree.read()
        defer { tree.unlock() }
        let node = try node(id)
        if hides(attribute, of: node) { throw Failure(ENODATA) }
        let isCapability = strcmp(attribute, capabilityName) == 0
        if isCapability, node.hasNoCapability { throw Failure(ENODATA) }
        let place = try place(of: node)
        let result = cfuse_getxattr(place.fd, place.name, attribute, buffer, size)
        if mapsOwners, result > 0, let buffer, Owners.isList(attribute) {
            owners.show(list: UnsafeMutableRawBufferPointer(start: buffer, count: result))
        }
        if isCapability { node.hasNoCapability = result == -ENODATA }
        return try check(result)
    }

    /// LISTXATTR: the list's length, in `buffer` if there is one.
    func listAttributes(
        _ id: UInt64,
        _ buffer: UnsafeMutablePointer<CChar>?,
        _ size: Int
    ) throws(Failure) -> Int {
        tree.read()
        defer { tree.unlock() }
        let node = try node(id)
        let place = try place(of: node)
        let count = cfuse_listxattr(place.fd, place.name, buffer, size)
        if count == -EOPNOTSUPP { return 0 }
        try check(count)
        guard let buffer, size > 0 else { return count }
        var (from, to) = (0, 0)
        while from < count {
            let length = strlen(buffer + from) &+ 1
            if !hides(buffer + from, of: node) {
                memmove(buffer + to, buffer + from, length)
                to &+= length
            }
            from &+= length
        }
        return to
    }

    /// SETXATTR.
    func setAttribute(
        _ id: UInt64,
        _ attribute: UnsafePointer<CChar>,
        _ value: UnsafePointer<CChar>?,
        _ size: Int,
        _ flags: CInt
    ) throws(Failure) {
        tree.write()
        defer { tree.unlock() }
        let node = try node(id)
        guard mapsOwners, let value, Owners.isList(attribute) else {
            return try setAttribute(of: node, attribute, value, size, flags)
        }
        try withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { (list) throws(Failure) in
            let bytes = UnsafeMutableRawBufferPointer(list)
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: value, count: size))
            // What is asked for is checked before anything comes up for it.
            try owners.hide(list: bytes)
            try setAttribute(of: node, attribute, list.baseAddress, size, flags)
        }
    }

    private func setAttribute(
        of node: Node,
        _ attribute: UnsafePointer<CChar>,
        _ value: UnsafePointer<CChar>?,
        _ size: Int,
        _ flags: CInt
    ) throws(Failure) {
        try bringUp(node)
        let place = try place(of: node)
        node.directory?.defaultACL = -1
        node.hasNoCapability = false
        try check(cfuse_setxattr(place.fd, place.name, attribute, value, size, flags))
        // As the kernel does where it sets the mode by the list (posix_acl_update_mode).
        if cfuse_drops_set_ids() != 0, Owners.isAccessList(attribute) {
            let mode = try place.status().st_mode
            if mode & S_ISGID != 0 { try check(cfuse_chmod(place.fd, place.name, mode & 0o7777 & ~S_ISGID)) }
        }
    }

    /// REMOVEXATTR.
    func removeAttribute(_ id: UInt64, _ attribute: UnsafePointer<CChar>) throws(Failure) {
        tree.write()
        defer { tree.unlock() }
        let node = try node(id)
        // Nothing comes up for an attribute that is not there.
        let old = try place(of: node)
        try check(cfuse_getxattr(old.fd, old.name, attribute, nil, 0))
        try bringUp(node)
        let place = try place(of: node)
        node.directory?.defaultACL = -1
        try check(cfuse_removexattr(place.fd, place.name, attribute))
    }
}

nonisolated(unsafe) private let capabilityName: UnsafePointer<CChar> = UnsafePointer(
    strdup("security.capability")
)
