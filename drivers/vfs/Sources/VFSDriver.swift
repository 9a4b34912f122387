// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage
package import SystemPackage

/// Every layer is a whole tree, a full copy of its parent's with the layer's changes in it.
///
/// Works on any file system that holds what images hold, and is the oracle for the other drivers. Large files share
/// their blocks where the file system can clone them.
///
/// On disk: `layers/<id>` is the tree of a finished layer, `staging/<id>` one in the making, `work/<id>` the record of
/// what a writable layer looked like when it was made, `trash/` what was removed.
package struct VFSDriver: StorageDriver {
    package static let name = "vfs"

    let home: FilePath
    private let directory: SharedFD

    package init(home: FilePath, options: [String: String]) throws {
        if let option = options.keys.min() {
            throw StorageError(
                .invalid,
                "storage option \(option): driver vfs has no options",
                remedy: "leave the option out"
            )
        }
        self.home = home
        directory = try doing("open the vfs driver's home \(home)") {
            try Files.makeDirectories(home)
            let opened = SharedFD(try Files.open(home, O_RDONLY | O_DIRECTORY))
            for folder in Folder.allCases { try Files.ensureDirectory(folder.rawValue, below: opened.raw) }
            return opened
        }
    }

    package var appliesOverParent: Bool { true }

    /// What lies in the driver's home.
    enum Folder: String, CaseIterable {
        case layers
        case work
        case staging
        case trash
    }

    /// The path of `id` below the home.
    func path(_ id: LayerID, in folder: Folder) -> FilePath { FilePath("\(folder.rawValue)/\(id)") }

    func open(_ folder: Folder) throws(SystemError) -> OwnedFD {
        try Files.openDirectory(folder.rawValue, below: directory.raw)
    }

    /// The tree of a layer that is finished, or applied and not yet sealed.
    func openTree(_ id: LayerID) throws -> OwnedFD {
        for folder in [Folder.layers, .staging]
        where try Files.status(path(id, in: folder), below: directory.raw) != nil {
            return try Files.openDirectory(path(id, in: folder), below: directory.raw)
        }
        throw StorageError(.notFound, "open layer \(id): driver vfs has no such layer in \(home)")
    }

    // MARK: - Making layers

    package func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        if let size = options.size {
            throw StorageError(
                .unsupported,
                "limit layer \(id) to \(size) bytes: driver vfs cannot limit a layer's size",
                remedy: "leave the size out, or use another storage driver"
            )
        }
        try doing("make layer \(id)") {
            try stage(id, over: parents) { tree in
                let record = try TreeRecord.take(of: tree)
                try Files.replace(home.appending("work/\(id)"), with: record.bytes, durable: false)
            }
            try finish(id)
        }
    }

    package func apply(
        _ source: any LayerEntrySource,
        to id: LayerID,
        over parents: LayerChain?
    ) throws -> Undecided {
        let parents = try required(parents, toUnpack: source.label)
        return try doing("unpack \(source.label)") {
            try stage(id, over: parents) { tree in
                var applier = TreeApplier(root: tree, form: PlainForm(), label: source.label)
                return try applier.apply(source)
            }
        }
    }

    package func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws {
        try doing("seal layer \(id)") {
            if try Files.status(path(id, in: .layers), below: directory.raw) == nil { try finish(id) }
        }
    }

    /// Makes a copy of the parent in `staging` and runs `body` on it; leaves nothing behind if that fails.
    private func stage<T>(_ id: LayerID, over parents: LayerChain, _ body: (CInt) throws -> T) throws -> T {
        if try Files.status(path(id, in: .layers), below: directory.raw) != nil {
            throw StorageError(.exists, "make layer \(id): driver vfs has it already")
        }
        let parent = try parents.top.map { SharedFD(try openTree($0)) }
        try Files.makeDirectory(path(id, in: .staging), below: directory.raw, mode: 0o755)
        do {
            let tree = try Files.openDirectory(path(id, in: .staging), below: directory.raw)
            if let parent {
                try TreeCopier.copy(from: parent.raw, to: tree.raw)
            } else {
                try TreeCopier.makeEmptyRoot(tree.raw)
            }
            return try body(tree.raw)
        } catch {
            // The first failure is the one to report; what stays is garbage that no row names.
            try? remove(id)
            throw error
        }
    }

    /// Gives a staged layer its place.
    private func finish(_ id: LayerID) throws {
        do {
            try Files.rename(
                path(id, in: .staging),
                below: directory.raw,
                to: path(id, in: .layers),
                below: directory.raw
            )
        } catch {
            try? remove(id)
            throw error
        }
    }

    // MARK: - Using layers

    package func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(id)") {
            let tree = try openTree(id)
            if access != .readOnly { return MountedLayer(root: tree, isMount: false) }
            do throws(SystemError) {
                let mount = try DetachedMount.clone("", below: tree.raw)
                try DetachedMount.set(.readOnly, on: mount.raw)
                return MountedLayer(root: mount, isMount: true)
            } catch {
                // Without the right to mount, the tree is protected by whoever uses it for reading only.
                guard error.errno == .notPermitted else { throw error }
                return MountedLayer(root: tree, isMount: false)
            }
        }
    }

    package func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try doing("find the changes of layer \(id)") {
            let tree = SharedFD(try openTree(id))
            let parent = try parents.top.map { SharedFD(try openTree($0)) }
            let changes = try TreeComparison.changes(
                parent: parent?.raw,
                tree: tree.raw,
                since: try record(of: id)
            )
            return ChangeSet(changes: changes, tree: tree, form: PlainForm())
        }
    }

    /// What a writable layer looked like when it was made; without it all is compared.
    private func record(of id: LayerID) throws -> TreeRecord? {
        guard try Files.status(path(id, in: .work), below: directory.raw) != nil else { return nil }
        return TreeRecord(
            bytes: try Files.contents(path(id, in: .work), below: directory.raw, limit: 4 << 30)
        )
    }

    package func usage(_ id: LayerID) throws -> LayerUsage {
        try doing("measure layer \(id)") {
            let tree = try openTree(id)
            return try treeUsage(of: tree.raw)
        }
    }

    package func list() throws -> [LayerID] {
        try doing("list the layers in \(home)") {
            var ids: Set<LayerID> = []
            for folder in [Folder.layers, .staging, .work] {
                let directory = try open(folder)
                for entry in try Files.list(directory.raw) {
                    if let id = LayerID(entry.name.printable) { ids.insert(id) }
                }
            }
            return Array(ids)
        }
    }

    package func holds(_ id: LayerID) throws -> Bool {
        try doing("look for layer \(id) (vfs)") {
            try [Folder.layers, .staging].contains {
                try Files.status(path(id, in: $0), below: directory.raw)?.kind == .directory
            }
        }
    }

    package func sync() throws {
        try doing("write the layers in \(home) to disk") { try Files.syncFileSystem(of: directory.raw) }
    }
}

extension VFSDriver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount {
        .directory(path(id, in: .layers))
    }
}
