// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage

/// Names whose group of hard links changed, and nothing else.
extension UpperWalker {
    /// Records them, once the walk is done; whether one of them is not in the upper.
    func compareGroups() throws -> Bool {
        if linked.isEmpty { return false }
        var groups = LinkGroups()
        for file in linked { groups.add(file.path, parent: file.old, tree: file.new) }
        // A copy-up takes one name of a file and leaves the others with the file below.
        let several = linked.compactMap(\.old).filter { $0.links > 1 }
        let left = try namesLeft(of: Set(several.map(\.inode)))
        for (path, status) in left {
            // A mount shows the inode of the layer as it is, on a device of its own.
            var status = status
            status.device = several[0].device
            groups.add(path, parent: status, tree: status)
        }
        let changed = groups.changed()
        add(changed)
        return !Set(changed).isDisjoint(with: left.map(\.path))
    }

    /// All names by which the merged tree still shows these files of the parent, where the upper has none.
    private func namesLeft(of inodes: Set<UInt64>) throws -> [(path: TreePath, status: FileStatus)] {
        guard !inodes.isEmpty, let parent = try parentView?.merged() else { return [] }
        var found: [(path: TreePath, status: FileStatus)] = []
        let stack = DirectoryStack(root: parent.raw)
        var frames: [(path: TreePath, names: [DirectoryEntry])] = [(.root, try Files.list(parent.raw))]
        while let last = frames.indices.last {
            guard let entry = frames[last].names.popLast() else {
                frames.removeLast()
                if !frames.isEmpty { try stack.pop() }
                continue
            }
            let isDirectory = entry.kind == .directory
            // The inode of a listing is the one that statx(2) gives, but for directories.
            if entry.kind != nil, !isDirectory, !inodes.contains(entry.inode) { continue }
            guard let status = try Files.status(entry.name, below: stack.top) else { continue }
            let path = frames[last].path.appending(entry.name)
            if status.kind == .directory {
                try stack.push(entry.name)
                frames.append((path, try Files.list(stack.top)))
            } else if inodes.contains(status.inode), try showsThrough(path) {
                found.append((path, status))
            }
        }
        return found
    }

    /// Whether the upper has nothing that stands at or hides this path of the parent.
    private func showsThrough(_ path: TreePath) throws -> Bool {
        var directory = try Files.openDirectory(".", below: upperRoot)
        for component in path.components {
            if try form.isOpaque(directory.raw) { return false }
            if try form.hides(component, below: directory.raw) { return false }
            guard let status = try Files.status(component, below: directory.raw) else { return true }
            guard status.kind == .directory else { return false }
            directory = try Files.openDirectory(component, below: directory.raw)
        }
        return false
    }
}
