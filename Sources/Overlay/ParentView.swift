// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
package import LinuxSys
package import Storage
import SystemPackage

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
    /// The roots of `layers` that nobody else holds.
    private let held: [SharedFD]
    private var depth = 0
    /// The layer that has what `find` found last.
    private var finder = 0

    init(_ view: ParentView?) {
        form = view?.form ?? PlainForm()
        layers = view?.roots.map { DirectoryStack(root: $0.raw) } ?? []
        held = []
    }

    /// Begins where `other` is, and cannot go above that.
    init(at other: ParentWalk) throws {
        form = other.form
        held = try other.layers.filter { $0.depth == other.depth }.map {
            SharedFD(try OwnedFD.duplicating($0.top))
        }
        layers = held.map { DirectoryStack(root: $0.raw) }
    }

    /// What the directory has under this name.
    func find(_ name: TreePath) throws -> EntryComparison.Place? {
        for (index, layer) in layers.enumerated() where layer.depth == depth {
            guard let place = try EntryComparison.Place(name, below: layer.top) else {
                if try form.hides(name, below: layer.top) { return nil }
                continue
            }
            finder = index
            return form.isWhiteout(place.status, named: name) ? nil : place
        }
        return nil
    }

    /// Goes into the directory `name`, which `find` found last.
    func push(_ name: TreePath) throws {
        let below = layers[finder...].filter { $0.depth == depth }
        for (index, layer) in below.enumerated() {
            // Nobody below the lowest could be hidden.
            let isLast = try index + 1 == below.count || form.hides(name, below: layer.top)
            do throws(SystemError) {
                guard let directory = try open(name, below: layer.top) else {
                    if isLast { break }
                    continue
                }
                try layer.push(directory)
            } catch {
                if error.errno == .notDirectory || error.errno == .tooManySymbolicLinkLevels { break }
                throw error
            }
            if try isLast || (!form.isWholeTree && form.isOpaque(layer.top)) { break }
        }
        depth += 1
    }

    private func open(_ name: TreePath, below directory: CInt) throws(SystemError) -> OwnedFD? {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        let fd = try systemAnswer("open", name.printable, expecting: .noSuchFileOrDirectory) {
            name.withCPath { clinux_openat(directory, $0, flags, 0) }
        }
        return fd.map { OwnedFD(adopting: $0) }
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
