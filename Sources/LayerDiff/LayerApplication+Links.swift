// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

extension LayerApplication {
    func applyHardLink(_ entry: LayerEntry, _ name: TreePath, to target: TreePath) throws {
        guard !target.isRoot else { throw refusal(entry.path, "a hard link to the root directory") }
        for component in target.components { try check(component.bytes[...], in: entry.path) }
        if target.isWithin(entry.path) { throw refusal(entry.path, "a hard link to itself, \(target)") }
        _ = links.drop(name, in: here)
        if try linkInLayer(name, in: here, directory: stack.top, to: target, for: entry.path) { return }
        let isOurs = nodes[here].written.contains(name.bytes) || nodes[here].children[name.bytes] != nil
        if isOurs || !isWholeTree { try clear(name) }
        links.add(PendingLinks.Link(node: here, name: name, target: target))
    }

    /// Links `name` to `target` if this layer has that; a link to a symlink links the symlink.
    private func linkInLayer(
        _ name: TreePath,
        in node: Int,
        directory: CInt,
        to target: TreePath,
        for entry: TreePath
    ) throws -> Bool {
        guard let parent = findNode(target.parent ?? .root) else { return false }
        if nodes[parent].children[target.name.bytes] != nil {
            throw refusal(entry, "a hard link to the directory \(target)")
        }
        if isWholeTree, !nodes[parent].written.contains(target.name.bytes) { return false }
        let source = try Files.openBeneath(path(of: parent), in: root, CLINUX_O_PATH | O_DIRECTORY)
        if !isWholeTree {
            guard let status = try Files.status(target.name, below: source.raw),
                !form.isWhiteout(status, named: target.name)
            else {
                return false
            }
        }
        try replace(name, in: node, directory: directory, byLinkTo: target.name, below: source.raw)
        return true
    }

    private func replace(
        _ name: TreePath,
        in node: Int,
        directory: CInt,
        byLinkTo target: TreePath,
        below source: CInt
    ) throws {
        let linked = try systemAnswer("link", name.printable, expecting: .fileExists) {
            target.withCPath { o in name.withCPath { n in clinux_linkat(source, o, directory, n, 0) } }
        }
        if linked == nil {
            if let child = nodes[node].children.removeValue(forKey: name.bytes) { nodes[child].parent = -1 }
            try Files.removeTree(name, below: directory)
            try Metadata.link(target, below: source, to: name, below: directory)
        }
        if isWholeTree { nodes[node].written.insert(name.bytes) }
    }

    private func findNode(_ path: TreePath) -> Int? {
        if path.bytes == current { return here }
        var node = 0
        for component in path.components {
            guard let child = nodes[node].children[component.bytes] else { return nil }
            node = child
        }
        return node
    }

    /// Makes the links that came before their target; in a whole tree also those to the parent's files.
    ///
    /// - Returns: the links whose target only the parent can have.
    func resolveLinks() throws -> [(link: TreePath, target: TreePath)] {
        var waiting = links.all.filter { !$0.isDropped && isAttached($0.node) }
        // A link may wait for a link that waits; long chains the wrong way round are left to the parent and fail there.
        for _ in 0..<16 where !waiting.isEmpty {
            let before = waiting.count
            waiting = try waiting.filter { try !linkNow($0) }
            if waiting.count == before { break }
        }
        if !isWholeTree { return waiting.map { (path(of: $0.node).appending($0.name), $0.target) } }
        for link in waiting { try linkToInherited(link) }
        return []
    }

    private func isAttached(_ node: Int) -> Bool {
        var next = node
        while next > 0 { next = nodes[next].parent }
        return next == 0
    }

    private func linkNow(_ link: PendingLinks.Link) throws -> Bool {
        let directory = try Files.openBeneath(path(of: link.node), in: root, CLINUX_O_PATH | O_DIRECTORY)
        let entry = path(of: link.node).appending(link.name)
        return try linkInLayer(
            link.name,
            in: link.node,
            directory: directory.raw,
            to: link.target,
            for: entry
        )
    }

    private func linkToInherited(_ link: PendingLinks.Link) throws {
        let entry = path(of: link.node).appending(link.name)
        let refused = refusal(entry, "a hard link to \(link.target), which no layer has as a file")
        let directory = try Files.openBeneath(path(of: link.node), in: root, CLINUX_O_PATH | O_DIRECTORY)
        let source: OwnedFD
        do throws(SystemError) {
            source = try Files.openParent(of: link.target, in: root)
        } catch {
            throw refused
        }
        guard let status = try Files.status(link.target.name, below: source.raw), status.kind != .directory
        else {
            throw refused
        }
        try replace(
            link.name,
            in: link.node,
            directory: directory.raw,
            byLinkTo: link.target.name,
            below: source.raw
        )
    }
}
