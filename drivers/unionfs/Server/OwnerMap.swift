// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// How the ids that own files on the layers go together with those that the union shows.
///
/// With none of both, they are the same. Source: fuse-overlayfs(1), whose options these are.
struct OwnerMap {
    struct Range {
        var disk: UInt32
        var shown: UInt32
        var count: UInt32
    }

    /// The first that has an id counts.
    var ranges: [Range] = []
    /// What every file is shown to belong to.
    var squashed: UInt32?

    var isIdentity: Bool { ranges.isEmpty && squashed == nil }

    /// What files show whose owner has no id in the union, as in a user namespace that lacks it.
    static let overflow: UInt32 = 65534

    init() {}

    /// Reads triples of ids on disk, ids shown and a length, all separated by colons; `nil` if that is not what it is.
    init?(_ text: String) {
        let words = text.split(separator: ":")
        guard !words.isEmpty, words.count % 3 == 0 else { return nil }
        for first in stride(from: 0, to: words.count, by: 3) {
            guard let disk = UInt32(words[first]), let shown = UInt32(words[first + 1]),
                let count = UInt32(words[first + 2]), count > 0,
                // The last number of all means none.
                UInt32.max - disk >= count, UInt32.max - shown >= count
            else { return nil }
            ranges.append(Range(disk: disk, shown: shown, count: count))
        }
    }

    func shown(_ id: UInt32) -> UInt32 { squashed ?? mapped(id) }

    func mapped(_ id: UInt32) -> UInt32 {
        if ranges.isEmpty { return id }
        for range in ranges where id >= range.disk && id - range.disk < range.count {
            return range.shown + (id - range.disk)
        }
        return Self.overflow
    }

    /// `nil` for one that no file can belong to.
    func disk(_ id: UInt32) -> UInt32? {
        if ranges.isEmpty { return id }
        for range in ranges where id >= range.shown && id - range.shown < range.count {
            return range.disk + (id - range.shown)
        }
        return nil
    }
}

/// Those of users and of groups.
struct Owners {
    var users = OwnerMap()
    var groups = OwnerMap()

    var areIdentity: Bool { users.isIdentity && groups.isIdentity }

    /// The ids on disk of what somebody makes.
    ///
    /// Who has none makes files of nobody, as with fuse-overlayfs: so is a container's mount point made from outside.
    func disk(_ caller: Caller) -> (uid: UInt32, gid: UInt32) {
        (users.disk(caller.uid) ?? OwnerMap.overflow, groups.disk(caller.gid) ?? OwnerMap.overflow)
    }

    // MARK: Access control lists

    /// Whether an attribute's value holds ids.
    static func isList(_ attribute: UnsafePointer<CChar>) -> Bool {
        isAccessList(attribute) || strcmp(attribute, "system.posix_acl_default") == 0
    }

    static func isAccessList(_ attribute: UnsafePointer<CChar>) -> Bool {
        strcmp(attribute, "system.posix_acl_access") == 0
    }

    /// Replaces the ids in a list by those that the union shows.
    ///
    /// A list has the form of its attribute: linux/posix_acl_xattr.h.
    func show(list: UnsafeMutableRawBufferPointer) {
        _ = Self.replace(in: list, user: users.mapped, group: groups.mapped)
    }

    /// Replaces the ids in a list that the union was given by those on disk.
    ///
    /// EINVAL if there are none.
    func hide(list: UnsafeMutableRawBufferPointer) throws(Failure) {
        if !Self.replace(in: list, user: users.disk, group: groups.disk) { throw Failure(EINVAL) }
    }

    private static func replace(
        in list: UnsafeMutableRawBufferPointer,
        user: (UInt32) -> UInt32?,
        group: (UInt32) -> UInt32?
    ) -> Bool {
        let (head, entry) = (4, 8)
        var offset = head
        while offset <= list.count - entry {
            let tag = UInt16(littleEndian: list.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let id = UInt32(littleEndian: list.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
            let (namedUser, namedGroup): (UInt16, UInt16) = (2, 8)
            if tag == namedUser || tag == namedGroup {
                guard let new = tag == namedUser ? user(id) : group(id) else { return false }
                list.storeBytes(of: new.littleEndian, toByteOffset: offset + 4, as: UInt32.self)
            }
            offset += entry
        }
        return true
    }
}
