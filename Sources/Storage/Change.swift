// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// One path that a layer changed against its direct parent.
///
/// A path counts as changed if its type, mode, owner, device number, size, mtime (ns), link target, extended
/// attributes, hard-link group or content differs. Access time, change time and inode number do not count.
/// The directories above a change are listed too. When a directory became something else, what lay in it is not listed.
package struct Change: Hashable, Comparable, Sendable {
    package enum Kind: UInt8, Sendable {
        case modified
        case added
        case deleted
    }

    package var kind: Kind
    package var path: TreePath

    package init(_ kind: Kind, _ path: TreePath) {
        self.kind = kind
        self.path = path
    }

    package static func < (left: Change, right: Change) -> Bool { left.path < right.path }
}

/// The changes of a layer, with a tree in which each added or modified path can be read as it is now.
package struct ChangeSet: Sendable {
    /// Sorted by path bytes, each path once.
    ///
    /// The root (empty path) is listed if it changed or anything did.
    package var changes: [Change]
    package var tree: SharedFD
    package var form: any TreeForm

    package init(changes: [Change], tree: SharedFD, form: any TreeForm) {
        self.changes = changes
        self.tree = tree
        self.form = form
    }
}
