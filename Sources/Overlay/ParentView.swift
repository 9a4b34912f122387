// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
package import LinuxSys
package import Storage

/// The merged tree of the layers below a writable one, to look names up in.
///
/// A fresh overlay mount makes every lookup a new one for the kernel, some 4 µs each; a few layers are looked
/// through faster one by one, where the names are known from the container's own mount.
package struct ParentView {
    /// More layers than this are mounted: each costs a lookup that fails, and descriptors.
    package static let mostLayers = 6

    /// The top first; or the root of a mount alone.
    let roots: [SharedFD]
    let form: any TreeForm
    /// The tree as a mount, made when it is asked for.
    let merged: () throws -> SharedFD

    /// The roots of all layers, the top first; at least one.
    package init(layers: [SharedFD], form: any TreeForm, merged: @escaping () throws -> SharedFD) {
        roots = layers
        self.form = form
        self.merged = merged
    }

    /// The root of a mount of all layers.
    package init(mount: SharedFD) {
        roots = [mount]
        form = PlainForm()
        merged = { mount }
    }
}

/// A place in the merged tree of some layers, found as the kernel finds it.
final class ParentWalk {
    private let form: any TreeForm
    /// Where each layer is, the top first; one that has no part in the directory stopped above it.
    private let layers: [DirectoryStack]
    private var depth = 0

    init(_ view: ParentView?) {
        form = view?.form ?? PlainForm()
        layers = view?.roots.map { DirectoryStack(root: $0.raw) } ?? []
    }

    /// What the directory has under this name.
    func find(_ name: TreePath) throws -> EntryComparison.Place? {
        for layer in layers where layer.depth == depth {
            guard let place = try EntryComparison.Place(name, below: layer.top) else {
                if try form.hides(name, below: layer.top) { return nil }
                continue
            }
            return form.isWhiteout(place.status, named: name) ? nil : place
        }
        return nil
    }

    /// Goes into the directory `name`, which `find` found.
    func push(_ name: TreePath) throws {
        for layer in layers where layer.depth == depth {
            let isLast = try form.hides(name, below: layer.top)
            guard let status = try Files.status(name, below: layer.top) else {
                if isLast { break }
                continue
            }
            guard status.kind == .directory else { break }
            try layer.push(name)
            if try isLast || (!form.isWholeTree && form.isOpaque(layer.top)) { break }
        }
        depth += 1
    }

    func pop() throws {
        for layer in layers where layer.depth == depth { try layer.pop() }
        depth -= 1
    }

    /// All names of the directory, in no order.
    func names() throws -> [TreePath] {
        var seen: Set<TreePath> = []
        var names: [TreePath] = []
        for layer in layers where layer.depth == depth {
            var hidden: [TreePath] = []
            for entry in try Files.list(layer.top) {
                switch form.meaning(of: entry.name) {
                case .whiteout(let name): hidden.append(name)
                case .mark: continue
                case .entry:
                    guard seen.insert(entry.name).inserted else { continue }
                    if entry.kind == .characterDevice || entry.kind == nil, try find(entry.name) == nil {
                        continue
                    }
                    names.append(entry.name)
                }
            }
            seen.formUnion(hidden)
        }
        return names
    }
}
