// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Overlay
package import Storage
package import SystemPackage

/// Layers as directories that the kernel's overlay file system stacks.
///
/// ```
/// <home>/layers/<id>    a layer's tree in the form of `OverlayForm`; a writable layer's is the upper directory
///        work/<id>      the kernel's, beside a writable layer; so a layer that has none is sealed
///        staging/<id>   being unpacked; a rename to layers/ makes it a layer
///        trash/<name>   being removed
///        empty          an empty directory, for the kernel wants two layers where there may be one
/// ```
/// An id is in `layers/` or in `staging/`, never in both.
package struct Overlay2Driver: StorageDriver {
    package static let name = "overlay2"

    /// Option that forces one way of mounting: `descriptors` or `names`; see `OverlayMount.Method`.
    package static let mountOption = "overlay2.mount"

    let home: FilePath
    /// `nil`: whatever works here.
    let method: OverlayMount.Method?
    /// The directory `layers`.
    let layers: SharedFD
    let form: OverlayForm
    private let kernel: KernelFacts

    package var appliesOverParent: Bool { false }

    package init(home: FilePath, options: [String: String]) throws {
        self.home = home
        method = try Self.method(options)
        layers = try doing("open storage driver overlay2 at \(home)") { SharedFD(try Self.openLayers(home)) }
        let kernel = KernelFacts(home: home)
        self.kernel = kernel
        form = OverlayForm(kernelEscapes: { try kernel.escapes() })
    }

    private static func method(_ options: [String: String]) throws -> OverlayMount.Method? {
        var method: OverlayMount.Method?
        for (key, value) in options {
            guard key == mountOption else {
                throw StorageError(
                    .invalid,
                    "storage driver overlay2 has no option \(key)",
                    remedy: "it has \(mountOption)"
                )
            }
            method = OverlayMount.Method(rawValue: value)
            guard method != nil else {
                let choice = OverlayMount.Method.allCases.map(\.rawValue).joined(separator: " or ")
                throw StorageError(
                    .invalid,
                    "option \(key)=\(value) of storage driver overlay2",
                    remedy: "it takes \(choice)"
                )
            }
        }
        return method
    }

    /// Makes what is missing; `layers` comes last, so where it is, all is.
    private static func openLayers(_ home: FilePath) throws -> OwnedFD {
        let path = home.appending("layers")
        if let layers = try? Files.openDirectory(path) { return layers }
        try Files.makeDirectories(home)
        let directory = try Files.openDirectory(home)
        // The root directory of a mount of nothing but `empty`; nobody writes to it.
        try Files.ensureDirectory("empty", below: directory.raw, mode: 0o755)
        for name in ["work", "staging", "trash", "layers"] {
            try Files.ensureDirectory(name, below: directory.raw, mode: 0o700)
        }
        return try Files.openDirectory(path)
    }

    /// The overlay of `parents`, with `upper` on top for writing.
    func overlay(_ parents: [LayerID], upper: LayerID? = nil) -> OverlayMount {
        OverlayMount(
            directory: home.appending("layers"),
            parents: parents.map(\.rawValue),
            upper: upper.map { ($0.rawValue, "../work/\($0)") },
            empty: "../empty"
        )
    }

    package func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try doing("mount layer \(id) (overlay2)") {
            let root: OwnedFD
            switch access {
            case .readOnly:
                root = try overlay(parents.ids + [id]).make(method)
            case .readWrite, .scratch:
                guard try Files.status("../work/\(id)", below: layers.raw) != nil else {
                    throw StorageError(.invalid, "mount layer \(id) for writing: it is no writable layer")
                }
                var mount = overlay(parents.ids, upper: id)
                mount.isVolatile = access == .scratch
                root = try mount.make(method)
            }
            return MountedLayer(root: root, isMount: true)
        }
    }

    /// The merged tree of `parents`, read-only; `nil` where there is none.
    func view(of parents: LayerChain) throws -> SharedFD? {
        parents.ids.isEmpty ? nil : SharedFD(try overlay(parents.ids).make(method))
    }

    package func list() throws -> [LayerID] {
        try doing("list layers of storage driver overlay2") {
            var found: Set<LayerID> = []
            for directory in [".", "../staging", "../work"] {
                let directory = try Files.openDirectory(directory, below: layers.raw)
                for entry in try Files.list(directory.raw) {
                    if let id = LayerID(String(decoding: entry.name.bytes, as: UTF8.self)) {
                        found.insert(id)
                    }
                }
            }
            return Array(found)
        }
    }

    package func status() throws -> [(name: String, value: String)] {
        [
            ("Home", home.string),
            (
                "Backing filesystem",
                try doing("ask \(home) for its type") { try Files.fileSystemType(layers.raw) }
            ),
            ("Mount method", (method ?? OverlayMount.method).rawValue),
            ("Mount options", "userxattr,index=off"),
            ("Attributes user.overlay.*", try kernel.escapes() ? "kept" : "refused (Linux before 6.7)"),
        ]
    }

    package func sync() throws {
        _ = try doing("sync \(home)") { try system("syncfs") { clinux_syncfs(layers.raw) } }
    }
}

extension Overlay2Driver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount {
        .fileSystem(type: "overlay", directory: "layers", data: try overlay(parents.ids, upper: id).data())
    }
}
