// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
import SystemPackage

/// What the tree below an open directory occupies, itself included; a file of several names counts once.
package func treeUsage(of directory: CInt) throws -> LayerUsage {
    var usage = LayerUsage(bytes: 0, inodes: 0)
    var seen: Set<UInt64> = []
    func count(_ status: FileStatus) {
        if status.kind != .directory, status.links > 1, !seen.insert(status.inode).inserted { return }
        usage.inodes += 1
        usage.bytes &+= status.blocks &* 512
    }

    let root = try Files.open(".", below: directory, O_RDONLY | O_DIRECTORY)
    let stack = DirectoryStack(root: root.raw)
    count(try Files.status(of: root.raw))
    var pending = [try Files.list(root.raw)]
    while let last = pending.indices.last {
        guard let entry = pending[last].popLast() else {
            pending.removeLast()
            try stack.pop()
            continue
        }
        guard let status = try Files.status(entry.name, below: stack.top) else { continue }
        count(status)
        if status.kind == .directory {
            try stack.push(entry.name)
            pending.append(try Files.list(stack.top))
        }
    }
    return usage
}
