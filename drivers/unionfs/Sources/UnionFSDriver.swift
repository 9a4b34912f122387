// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import Overlay
package import Storage
package import SystemPackage

/// Layers as directories in the form of layer tars, which our own FUSE file system stacks.
///
/// On disk as `LayerDirectories` has it. Each mount has a server, `strata-unionfs`, that ends with it; what the server
/// remembers of a writable layer lies in the layer's work directory.
package struct UnionFSDriver: LayerDirectories {
    package static let name = "unionfs"

    /// Option: `false` leaves all content to the server, for comparison.
    package static let passthroughOption = "unionfs.passthrough"

    package let home: FilePath
    package let layers: SharedFD
    package let form = AUFSForm()
    private let passesThrough: Bool

    package init(home: FilePath, options: [String: String]) throws {
        self.home = home
        passesThrough = try Self.passesThrough(options)
        layers = try doing("open storage driver unionfs at \(home)") {
            SharedFD(try Self.openLayers(home, besides: ["links"]))
        }
    }

    private static func passesThrough(_ options: [String: String]) throws -> Bool {
        var result = true
        for (key, value) in options.sorted(by: { $0.key < $1.key }) {
            guard key == passthroughOption else {
                throw StorageError(
                    .invalid,
                    "storage driver unionfs has no option \(key)",
                    remedy: "it has \(passthroughOption)"
                )
            }
            guard let isOn = Bool(value) else {
                throw StorageError(
                    .invalid,
                    "option \(key)=\(value) of storage driver unionfs",
                    remedy: "it takes true or false"
                )
            }
            result = isOn
        }
        return result
    }

    /// The union of `ids`, base first, with `upper` on top for writing.
    private func union(_ ids: [LayerID], upper: LayerID? = nil) -> UnionMount {
        UnionMount(
            directory: home.appending("layers"),
            lowers: ids.reversed().map(\.rawValue),
            upper: upper.map { ($0.rawValue, "../work/\($0)") },
            links: "../links",
            passesThrough: passesThrough
        )
    }

    package func apply(
        _ source: any LayerEntrySource,
        to id: LayerID,
        over parents: LayerChain?
    ) throws -> Undecided {
        let noter = LinkNoter(source)
        let undecided = try unpack(noter, to: id)
        do {
            try doing("note the hard links of layer \(id)") {
                try LinkNames.write(Array(Set(noter.names)).sorted(), for: id, below: layers.raw)
            }
        } catch {
            try? remove(id)
            throw error
        }
        return undecided
    }

    package func remove(_ id: LayerID) throws {
        try removeDirectories(id)
        try doing("remove layer \(id) (unionfs)") {
            _ = try Files.unlink(LinkNames.path(id), below: layers.raw)
        }
    }

    package func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(id) (unionfs)") {
            if access == .readOnly { return try union(parents.ids + [id]).make() }
            guard try isWritable(id) else {
                throw StorageError(.invalid, "mount layer \(id) for writing: it is no writable layer")
            }
            var mount = union(parents.ids, upper: id)
            mount.isVolatile = access == .scratch
            return try mount.make()
        }
    }

    package func merge(_ ids: [LayerID]) throws -> SharedFD {
        let mounted = try union(ids).make()
        return SharedFD(try mounted.asDetachedMount())
    }

    package func status() throws -> [(name: String, value: String)] {
        try homeStatus() + [
            ("Layer form", "AUFS (.wh. files)"),
            ("Passthrough", passesThrough ? "where the kernel has it" : "off"),
        ]
    }
}

extension UnionFSDriver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) -> IDMappedMount { .mount }
}
