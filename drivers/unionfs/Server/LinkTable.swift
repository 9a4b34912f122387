// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import LayerDiff
import LinuxSys
import SystemPackage

/// All names of the files that have several, by layer, found when they are first asked for: from what whoever unpacked
/// the layer noted, else by a walk.
final class LinkTable {
    private let layers: [Layer]
    /// Of each layer, a file of names that end with a zero.
    private let notes: [FilePath?]
    private var tables: [Int32: [UInt64: [TreePath]]] = [:]

    init(layers: [Layer], notes: [FilePath?]) {
        self.layers = layers
        self.notes = notes
    }

    /// The names in `layer` of the file with this inode.
    func names(of inode: UInt64, in layer: Int32) -> [TreePath] {
        if let table = tables[layer] { return table[inode] ?? [] }
        let table = noted(layer) ?? (try? Self.walk(layers[Int(layer)].fd)) ?? [:]
        tables[layer] = table
        return table[inode] ?? []
    }

    /// `nil` where nothing was noted.
    private func noted(_ layer: Int32) -> [UInt64: [TreePath]]? {
        guard let path = notes[Int(layer)], let text = try? Files.contents(path) else { return nil }
        var table: [UInt64: [TreePath]] = [:]
        for name in text.split(separator: 0) {
            let path = TreePath(bytes: Array(name))
            guard let directory = try? Files.openParent(of: path, in: layers[Int(layer)].fd),
                let status = try? Files.status(path.name, below: directory.raw), status.links > 1
            else { continue }
            table[status.inode, default: []].append(path)
        }
        return table
    }

    private static func walk(_ root: CInt) throws -> [UInt64: [TreePath]] {
        var table: [UInt64: [TreePath]] = [:]
        let stack = DirectoryStack(root: root)
        var frames: [(path: TreePath, names: [DirectoryEntry])] = [(.root, try Files.list(root))]
        while let last = frames.indices.last {
            guard let entry = frames[last].names.popLast() else {
                frames.removeLast()
                if !frames.isEmpty { try stack.pop() }
                continue
            }
            let path = frames[last].path.appending(entry.name)
            if entry.kind == .directory {
                try stack.push(entry.name)
                frames.append((path, try Files.list(stack.top)))
                continue
            }
            guard let status = try Files.status(entry.name, below: stack.top) else { continue }
            if status.kind == .directory {
                try stack.push(entry.name)
                frames.append((path, try Files.list(stack.top)))
            } else if status.links > 1 {
                table[status.inode, default: []].append(path)
            }
        }
        return table
    }
}

extension UnionFS {
    /// Meets a file of a layer below by every name under which the union shows it.
    func findNames(of node: Node) throws(Failure) {
        guard let key = node.key, node.layer > 0 else { return }
        for path in linkTable.names(of: key.inode, in: node.layer) {
            if let found = try resolve(path), found !== node { drop(found) }
        }
    }

    /// The node at a path from the root, without following symlinks; `nil` where there is none.
    private func resolve(_ path: TreePath) throws(Failure) -> Node? {
        var node = root
        for component in path.components {
            let slot: Int32? = try withName(component) { (name: Name) throws(Failure) in
                node.isDirectory ? try find(name, in: node) : nil
            }
            guard let slot else {
                drop(node)
                return nil
            }
            node = try self.node(at: slot, in: node)
        }
        return node
    }

    private func withName<R>(_ path: TreePath, _ body: (Name) throws(Failure) -> R) throws(Failure) -> R {
        let bytes = path.bytes.map { CChar(bitPattern: $0) } + [0]
        var result: Result<R, Failure> = .failure(Failure(EIO))
        bytes.withUnsafeBufferPointer { buffer in
            do throws(Failure) {
                result = .success(try body(Name(buffer.baseAddress.unsafelyUnwrapped)))
            } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }
}
