// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LayerDiff
import LinuxSys
import SystemPackage

/// What the item of an inode says of it.
struct InodeItem: Equatable {
    /// The transactions that made the inode and that last wrote it.
    let made: UInt64
    let changed: UInt64
    let size: UInt64
    let links: UInt32
    private let user: UInt32
    private let group: UInt32
    private let mode: UInt32
    private let device: UInt64
    private let flags: UInt64
    private let modified: Timestamp

    init(_ data: ItemData) throws(SystemError) {
        made = try data.integer(at: 0, UInt64.self)
        changed = try data.integer(at: 8, UInt64.self)
        size = try data.integer(at: 16, UInt64.self)
        links = try data.integer(at: 40, UInt32.self)
        user = try data.integer(at: 44, UInt32.self)
        group = try data.integer(at: 48, UInt32.self)
        mode = try data.integer(at: 52, UInt32.self)
        device = try data.integer(at: 56, UInt64.self)
        flags = try data.integer(at: 64, UInt64.self)
        modified = Timestamp(
            seconds: try data.integer(at: 136, Int64.self),
            nanoseconds: try data.integer(at: 144, UInt32.self)
        )
    }

    var isDirectory: Bool { mode & 0o170000 == 0o040000 }

    /// Whether something besides its mode keeps it as it is: no layer has such marks, or would let them be removed.
    var isProtected: Bool {
        let (immutable, appendOnly, verity): (UInt64, UInt64, UInt64) = (1 << 6, 1 << 7, 1 << 32)
        return flags & (immutable | appendOnly | verity) != 0
    }

    /// Whether this alone tells that the inode is changed; else its content and its attributes may.
    func differs(from other: Self) -> Bool {
        mode != other.mode || user != other.user || group != other.group || modified != other.modified
            || device != other.device || (!isDirectory && size != other.size)
    }
}

/// An inode that was written since.
///
/// Belongs to the thread that finds it, until that has ended.
final class ChangedInode: @unchecked Sendable {
    struct Before {
        var item: InodeItem
        /// `nil`: those of now.
        var names: [InodeNames.Name]? = []
    }

    let inode: UInt64
    let item: InodeItem
    var names: [InodeNames.Name] = []
    /// What it was in the parent; `nil` for a new one.
    var before: Before?
    /// Of a directory.
    var entries = ScannedEntries()
    /// Whether entries of it were not looked at, wherever they stand.
    var isPassedOver = false
    /// The names that a directory lost, unless only a listing tells.
    var removed: [TreePath]?

    init(_ inode: UInt64, _ item: InodeItem) {
        self.inode = inode
        self.item = item
    }

    /// Its names in the parent; `nil` for a new one.
    var namesBefore: [InodeNames.Name]? { before.map { $0.names ?? names } }
}
