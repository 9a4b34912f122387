// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// The paths that share a file with others, in both trees.
package struct LinkGroups {
    private struct FileKey: Hashable {
        var inode: UInt64
        var device: DeviceNumber

        init(_ status: FileStatus) {
            inode = status.inode
            device = status.device
        }
    }

    private struct Pairing: Hashable {
        var old: FileKey
        var new: FileKey
    }

    private struct Member {
        var path: TreePath
        /// Nil where the path is a change by itself: then it is no longer the file it was.
        var old: FileKey?
        var new: FileKey
    }

    private var members: [Member] = []

    package init() {}

    /// Takes a path of the new tree, with its status in the parent if it is otherwise unchanged.
    package mutating func add(_ path: TreePath, parent: FileStatus?, tree: FileStatus) {
        members.append(Member(path: path, old: parent.map(FileKey.init), new: FileKey(tree)))
    }

    /// The paths, unchanged by themselves, whose groups differ.
    package func changed() -> [TreePath] {
        var oldGroups: [FileKey: [Int]] = [:]
        var newGroups: [FileKey: [Int]] = [:]
        for (index, member) in members.enumerated() {
            if let old = member.old { oldGroups[old, default: []].append(index) }
            newGroups[member.new, default: []].append(index)
        }
        var known: [Pairing: Bool] = [:]
        var paths: [TreePath] = []
        for member in members {
            guard let old = member.old else { continue }
            let pairing = Pairing(old: old, new: member.new)
            let differs = known[pairing] ?? (oldGroups[old] != newGroups[member.new])
            known[pairing] = differs
            if differs { paths.append(member.path) }
        }
        return paths
    }
}
