// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage
package import SystemPackage

/// Every layer is a subvolume, made as a snapshot of its parent's: a whole tree that shares what it did not change.
///
/// ```
/// <home>/layers/<id>                 a layer; a sealed one is read-only
///        layers/removed.<id>.<n>     to be deleted, with the subvolumes that a container made in it
///        layers/changes.<id>.<n>     what a writable layer was at the moment when somebody asked what it changed
/// ```
/// All in one directory, since a read-only subvolume can be renamed but not moved.
package struct BtrfsDriver: StorageDriver {
    package static let name = "btrfs"

    let home: FilePath
    /// The directory `layers`.
    let layers: SharedFD
    let form = BtrfsForm()

    package var appliesOverParent: Bool { true }

    package init(home: FilePath, options: [String: String]) throws {
        if let option = options.keys.min() {
            throw StorageError(
                .invalid,
                "storage driver btrfs has no option \(option)",
                remedy: "leave it out"
            )
        }
        self.home = home
        layers = try doing("open storage driver btrfs at \(home)") { SharedFD(try Self.openLayers(home)) }
    }

    private static func openLayers(_ home: FilePath) throws -> OwnedFD {
        try checkFileSystem(of: home)
        let path = home.appending("layers")
        if let layers = try? Files.openDirectory(path) { return layers }
        try Files.makeDirectories(home)
        try Files.ensureDirectory(path)
        return try Files.openDirectory(path)
    }

    /// The name of a subvolume of `layers` that is no layer; `kind` is `removed` or `changes`.
    func temporaryName(_ kind: String, _ id: LayerID) -> String {
        "\(kind).\(id).\(UInt64.random(in: 0...UInt64.max))"
    }

    /// Opens a layer's subvolume.
    func open(_ id: LayerID) throws -> OwnedFD {
        do throws(SystemError) {
            return try Subvolume.open(id.rawValue, below: layers.raw)
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory:
                throw StorageError(
                    .notFound,
                    "open layer \(id): storage driver btrfs has no such layer in \(home)",
                    remedy: "strata system check --repair"
                )
            case .invalidArgument, .notDirectory:
                throw StorageError(
                    .corrupt,
                    "open layer \(id): \(home.appending("layers/\(id)")) is no subvolume; a copy of a store does not keep them",
                    remedy: "strata system check --repair"
                )
            default: throw error
            }
        }
    }

    package func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(id) (btrfs)") {
            let tree = try open(id)
            if access != .readOnly, try Subvolume.isReadOnly(tree.raw) {
                throw StorageError(.invalid, "mount layer \(id) for writing: it is no writable layer")
            }
            let mount = try DetachedMount.clone("", below: tree.raw)
            // Each first read would else write: the tree of the snapshot would part from its parent's for nothing.
            try DetachedMount.set(access == .readOnly ? .readOnly : .noAccessTime, on: mount.raw)
            return MountedLayer(root: mount, isMount: true)
        }
    }

    package func list() throws -> [LayerID] {
        try doing("list layers of storage driver btrfs") {
            try Files.list(layers.raw).compactMap { LayerID($0.name.printable) }
        }
    }

    package func status() throws -> [(name: String, value: String)] { [("Home", home.string)] }

    package func sync() throws {
        try doing("write the layers in \(home) to disk") { try Files.syncFileSystem(of: layers.raw) }
    }
}

extension BtrfsDriver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount {
        .directory(FilePath("layers/\(id)"))
    }
}
