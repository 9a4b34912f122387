// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage
package import SystemPackage

/// Every layer is a subvolume, made as a snapshot of its parent's: a whole tree that shares what it did not change.
///
/// ```
/// <top>/layers/<id>                 a layer; a sealed one is read-only
///       layers/removed.<…>          to be deleted, with the subvolumes that a container made in it
///       layers/changes.<id>.<n>     what a writable layer was at the moment when somebody asked what it changed
///       layers/lineage.<id>         where a layer comes from that was copied from a container's
///       quota/<id>                  the limit of a layer that has one
///       reserve/<id>/<n>/layer      snapshots of a layer over which others are made, not used yet
/// ```
/// The top is the driver's home, or the root of the file system in `<home>/volume`. What the kernel makes as subvolumes is
/// all in one directory, since a read-only one can be renamed but not moved.
package struct BtrfsDriver: StorageDriver {
    package static let name = "btrfs"

    let home: FilePath
    let volume: Volume?
    /// What the directories below are in.
    let top: SharedFD
    /// The directory `layers`.
    let layers: SharedFD
    let form = BtrfsForm()

    package var appliesOverParent: Bool { true }

    package init(home: FilePath, options: [String: String]) throws {
        self.home = home
        let size = try Self.volumeSize(options)
        if try size != nil || Volume.exists(in: home) {
            volume = try Self.openVolume(home, size: size)
        } else {
            volume = nil
            try doing("open storage driver btrfs at \(home)") {
                try Self.checkFileSystem(of: home)
                try Files.makeDirectories(home)
            }
        }
        let volume = volume
        (top, layers) = try doing("open storage driver btrfs at \(home)") {
            let top = try volume?.root ?? SharedFD(Files.openDirectory(home))
            return (top, SharedFD(try Self.openLayers(top.raw)))
        }
    }

    private static func volumeSize(_ options: [String: String]) throws -> Int64? {
        for option in options.keys where option != Volume.option {
            throw StorageError(
                .invalid,
                "storage driver btrfs has no option \(option)",
                remedy: "it has \(Volume.option)"
            )
        }
        return try options[Volume.option].map { try Volume.size($0) }
    }

    private static func openVolume(_ home: FilePath, size: Int64?) throws -> Volume {
        if try Files.status(home.appending("layers")) != nil {
            throw StorageError(
                .invalid,
                "option \(Volume.option): \(home) has layers that lie on its own file system",
                remedy: "leave the option out"
            )
        }
        try doing("open storage driver btrfs at \(home)") { try Files.makeDirectories(home) }
        do {
            return try Volume(in: home, size: size)
        } catch {
            // Else the home would say that the driver has layers here.
            if try !Volume.exists(in: home) { Volume.removeLock(in: home) }
            _ = try? Files.unlink(home, isDirectory: true)
            throw error
        }
    }

    private static func openLayers(_ top: CInt) throws(SystemError) -> OwnedFD {
        if let layers = try? Files.openDirectory("layers", below: top) { return layers }
        try Files.ensureDirectory("layers", below: top)
        return try Files.openDirectory("layers", below: top)
    }

    var quota: Quota { Quota(top: top.raw) }
    var reserve: Reserve { Reserve(top: top.raw) }
    var lineage: Lineage { Lineage(layers: layers.raw) }

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
            if access != .readOnly { try quota.check(id) }
            let mount = try detachedMount(id, tree.raw)
            // Each first read would else write: the tree of the snapshot would part from its parent's for nothing.
            try DetachedMount.set(access == .readOnly ? .readOnly : .noAccessTime, on: mount.raw)
            return MountedLayer(root: mount, isMount: true)
        }
    }

    func detachedMount(_ id: LayerID, _ tree: CInt) throws -> OwnedFD {
        guard let volume else { return try DetachedMount.clone("", below: tree) }
        do throws(SystemError) {
            return try DetachedMount.clone("", below: tree)
        } catch {
            guard error.errno == .invalidArgument else { throw error }
            return try volume.mount(subvolume: "layers/\(id)")
        }
    }

    package func list() throws -> [LayerID] {
        try doing("list layers of storage driver btrfs") {
            try Files.list(layers.raw).compactMap { LayerID($0.name.printable) }
        }
    }

    package func holds(_ id: LayerID) throws -> Bool {
        try doing("look for layer \(id) (btrfs)") {
            try Files.status(id.rawValue, below: layers.raw)?.kind == .directory
        }
    }

    package func sync() throws {
        try doing("write the layers in \(home) to disk") { try Files.syncFileSystem(of: layers.raw) }
    }
}

extension BtrfsDriver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount { .mount }
}
