// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// An object that the kernel knows by number: where it is found by name, never a descriptor of its own.
///
/// Reached under the union's locks only.
final class Node {
    /// A place in the tree at which it stands.
    struct Location {
        let parent: Node
        let slot: Int32
    }

    let id: UInt64
    /// S_IFMT.
    let type: mode_t
    /// Shown inode number.
    var inode: UInt64
    /// For all but directories: the layer that has it.
    var layer: Int32
    /// Every name by which the union has met it; none: it was removed, or is the root.
    var locations: [Location] = []
    /// How often the kernel was told of it and has not forgotten.
    var lookups: UInt64 = 0
    /// Nodes below, and work in hand.
    var pins = 0
    /// Names in a layer below that were removed in front of it.
    var hiddenLinks: UInt = 0
    var handles: [Handle] = []
    /// Its last answer about file capabilities, for which the kernel asks before it first writes, was that it has none.
    var hasNoCapability = false
    /// The kernel may hold some of its content.
    var wasOpened = false
    /// Of a file below the upper, which does not change; -1: not known.
    var size: Int64 = -1
    /// What is left of an object without a name: O_PATH, or -1.
    var orphan: CInt = -1
    /// Whoever starts the next server holds `orphan` too.
    var isHeld = false
    var key: FileKey?
    var directory: Directory?
    let isRoot: Bool

    /// The kernel's number of the file that serves all passthrough opens; 0: none.
    var backing: CInt = 0
    /// The layer of that file; after a copy-up it is not `layer`.
    var backingLayer: Int32 = -1
    var backingUses = 0
    /// The backing file was written to, so pages that the kernel kept of this node are old.
    var isCacheStale = false

    init(id: UInt64, type: mode_t, inode: UInt64, layer: Int32, isRoot: Bool = false) {
        self.id = id
        self.type = type
        self.inode = inode
        self.layer = layer
        self.isRoot = isRoot
    }

    deinit { if orphan >= 0 { cfuse_close(orphan) } }

    var isDirectory: Bool { type == S_IFDIR }
    var isOrphan: Bool { locations.isEmpty && !isRoot }
    var isIdle: Bool { lookups == 0 && pins == 0 && handles.isEmpty && !isRoot }
}

/// An open file.
final class Handle {
    let id: UInt64
    let node: Node
    let flags: CInt
    /// -1 until it is needed.
    var fd: CInt
    var isPassthrough = false
    /// The time of modification that the kernel knows of.
    var modified = timespec()

    init(id: UInt64, node: Node, flags: CInt, fd: CInt) {
        self.id = id
        self.node = node
        self.flags = flags
        self.fd = fd
    }

    deinit { if fd >= 0 { cfuse_close(fd) } }

    var isWritable: Bool { flags & O_ACCMODE != O_RDONLY }
    /// Whether it may be written through a shared mapping of which nobody tells: neither the kernel's own times show that.
    var hidesChanges: Bool { isPassthrough && flags & O_ACCMODE == O_RDWR }
}
