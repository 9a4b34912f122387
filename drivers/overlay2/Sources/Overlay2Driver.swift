// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
package import Overlay
package import Storage
package import SystemPackage

/// Layers as directories that the kernel's overlay file system stacks.
///
/// On disk as `LayerDirectories` has it, and `empty`, an empty directory, for the kernel wants two layers where there
/// may be one.
package struct Overlay2Driver: LayerDirectories {
    package static let name = "overlay2"

    /// Option that forces one way of mounting: `descriptors` or `names`; see `OverlayMount.Method`.
    package static let mountOption = "overlay2.mount"

    package let home: FilePath
    /// `nil`: whatever works here.
    let method: OverlayMount.Method?
    package let layers: SharedFD
    package let form: OverlayForm
    private let kernel: KernelFacts

    package init(home: FilePath, options: [String: String]) throws {
        self.home = home
        method = try Self.method(options)
        // The root directory of a mount of nothing but `empty`; nobody writes to it.
        layers = try doing("open storage driver overlay2 at \(home)") {
            SharedFD(try Self.openLayers(home, besides: ["empty"]))
        }
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
                guard try isWritable(id) else {
                    throw StorageError(.invalid, "mount layer \(id) for writing: it is no writable layer")
                }
                var mount = overlay(parents.ids, upper: id)
                mount.isVolatile = access == .scratch
                root = try mount.make(method)
            }
            return MountedLayer(root: root, isMount: true)
        }
    }

    package func merge(_ ids: [LayerID]) throws -> SharedFD { SharedFD(try overlay(ids).make(method)) }

    package func finish(_ root: CInt, parent: () throws -> SharedFD?) throws {
        try form.expandOpaqueRoot(root, parent: parent)
    }

    package func status() throws -> [(name: String, value: String)] {
        try homeStatus() + [
            ("Mount method", (method ?? OverlayMount.method).rawValue),
            ("Mount options", "userxattr,index=off"),
            ("Attributes user.overlay.*", try attributeStatus()),
        ]
    }

    private func attributeStatus() throws -> String {
        do {
            return try kernel.escapes() ? "kept" : "refused (Linux before 6.7)"
        } catch let error as SystemError where error.errno == .readOnlyFileSystem {
            return "unknown, since nothing can be tried on a read-only file system"
        }
    }
}

extension Overlay2Driver: IDMappedMounting {
    package func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount {
        .fileSystem(type: "overlay", directory: "layers", data: try overlay(parents.ids, upper: id).data())
    }
}
