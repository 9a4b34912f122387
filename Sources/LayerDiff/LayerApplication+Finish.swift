// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

extension LayerApplication {
    /// What the list of implied directories may take, in bytes of their paths.
    private static let mostImpliedBytes = 64 << 20

    /// Does what had to wait for the last entry.
    func finish() throws -> Undecided {
        let links = try resolveLinks()
        try settleDirectories()
        if isWholeTree { return Undecided() }
        return Undecided(impliedDirectories: try impliedDirectories(), hardLinks: links, label: label)
    }

    private func impliedDirectories() throws -> [TreePath] {
        var implied: [TreePath] = []
        var bytes = 0
        forEachNode { node in
            guard nodes[node].isImplied, !nodes[node].isHidden else { return true }
            let path = path(of: node)
            bytes += path.bytes.count
            implied.append(path)
            return bytes <= Self.mostImpliedBytes
        }
        if bytes > Self.mostImpliedBytes {
            throw StorageError(
                .invalid,
                "unpack \(label): too many long paths whose directories the layer does not have"
            )
        }
        implied.sort()
        return implied
    }

    /// Visits every directory of the layer from the root down, until `body` says stop.
    private func forEachNode(_ body: (Int) -> Bool) {
        var pending = [0]
        while let node = pending.popLast() {
            guard body(node) else { return }
            pending.append(contentsOf: nodes[node].children.values)
        }
    }

    /// Gives all directories their final mode, default ACL and time, deepest first: their making is over, so nothing
    /// changes the times again, and no mode keeps an ordinary user out.
    private func settleDirectories() throws {
        let walk = DirectoryStack(root: root)
        var frames: [(node: Int, children: [Int])] = [(0, Array(nodes[0].children.values))]
        while let last = frames.indices.last {
            if let child = frames[last].children.popLast() {
                let name = TreePath(bytes: nodes[child].name)
                if nodes[child].children.isEmpty {
                    try settle(child, name, below: walk.top)
                } else {
                    try walk.push(name)
                    frames.append((child, Array(nodes[child].children.values)))
                }
            } else {
                let node = frames.removeLast().node
                if frames.isEmpty { return try settle(0, ".", below: root) }
                try walk.pop()
                try settle(node, TreePath(bytes: nodes[node].name), below: walk.top)
            }
        }
    }

    private func settle(_ node: Int, _ name: TreePath, below directory: CInt) throws {
        if nodes[node].isImplied, nodes[node].isInherited, nodes[node].isHidden {
            try makePlain(node, name, below: directory)
        }
        if let acl = nodes[node].defaultACL { try ExtendedAttributes.set(acl, on: name, below: directory) }
        if let mode = nodes[node].mode { try Metadata.setMode(mode, on: name, below: directory) }
        try Metadata.setTime(nodes[node].mtime, on: name, below: directory)
    }

    /// A directory of the parent that the layer hides and yet goes through keeps nothing of the parent's.
    private func makePlain(_ node: Int, _ name: TreePath, below directory: CInt) throws {
        let fd = try Files.open(name, below: directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        try system("fchown") { fchown(fd.raw, 0, 0) }
        try Metadata.replaceAttributes(on: fd.raw, with: [], form: form)
        nodes[node].defaultACL = nil
        nodes[node].mode = 0o755
        nodes[node].mtime = Timestamp(seconds: 0)
    }
}
