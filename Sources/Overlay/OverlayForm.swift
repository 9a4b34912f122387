// SPDX-License-Identifier: Apache-2.0

import CLinux
package import LinuxSys
import Storage

/// How a layer lies on disk for the kernel's overlay file system, mounted with `userxattr`.
///
/// Whiteout: a character device 0/0. Opaque directory: `user.overlay.opaque=y`, which the kernel does not look for on
/// the root of a layer (see `expandOpaqueRoot`). A layer's own `user.overlay.x` is
/// stored as `user.overlay.overlay.x`, as the kernel does it from 6.7 on; a kernel that does not would hide the
/// attribute, so there it is refused. `trusted.overlay.*` means nothing to such a mount and is plain data.
package struct OverlayForm: TreeForm {
    /// Asked only when a layer really has a `user.overlay.*` attribute.
    private let kernelEscapes: @Sendable () throws -> Bool

    /// - Parameter kernelEscapes: whether this kernel shows `user.overlay.overlay.x` as `user.overlay.x`; see
    ///   `OverlayMount.kernelEscapes`.
    package init(kernelEscapes: @escaping @Sendable () throws -> Bool) {
        self.kernelEscapes = kernelEscapes
    }

    package var isWholeTree: Bool { false }

    package func makeWhiteout(_ name: TreePath, below directory: CInt) throws {
        try system("mknod", name.printable) {
            name.withCPath { clinux_mknodat(directory, $0, FileKind.characterDevice.formatBits, 0, 0) }
        }
        // In a directory that no layer below has, the kernel lists whiteouts as names; not where it sees that the
        // directory was merged once, which an origin tells. An empty one says no more than that.
        try ExtendedAttributes.set(ExtendedAttribute(name: Self.origin, value: []), on: directory)
    }

    package func makeOpaque(_ directory: CInt) throws {
        try ExtendedAttributes.set(
            ExtendedAttribute(name: Self.opaque, value: [UInt8(ascii: "y")]),
            on: directory
        )
    }

    package func isWhiteout(_ status: FileStatus, named name: TreePath) -> Bool { status.isWhiteoutDevice }

    package func isOpaque(_ directory: CInt) throws -> Bool {
        try ExtendedAttributes.value("user.overlay.opaque", of: directory) == [UInt8(ascii: "y")]
    }

    package func stored(_ attributes: [ExtendedAttribute]) throws -> [ExtendedAttribute] {
        guard attributes.contains(where: { $0.name.starts(with: Self.prefix) }) else { return attributes }
        guard try kernelEscapes() else {
            throw FormRefusal(
                .unsupported,
                "attribute user.overlay.*: this kernel's overlay file system would hide it",
                remedy: "use Linux 6.7 or later, or another storage driver"
            )
        }
        return try attributes.map { attribute in
            guard attribute.name.starts(with: Self.prefix) else { return attribute }
            // The kernel lists a name that ends at the prefix but cannot read it.
            guard attribute.name.count > Self.prefix.count else {
                throw FormRefusal(.invalid, "attribute \"user.overlay.\" has no name after its prefix")
            }
            let name = Self.escapedPrefix + attribute.name.dropFirst(Self.prefix.count)
            return ExtendedAttribute(name: name, value: attribute.value)
        }
        .sorted()
    }

    package func visible(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] {
        guard attributes.contains(where: { $0.name.starts(with: Self.prefix) }) else { return attributes }
        return attributes.compactMap { attribute in
            if attribute.name.starts(with: Self.escapedPrefix) {
                let name = Self.prefix + attribute.name.dropFirst(Self.escapedPrefix.count)
                return ExtendedAttribute(name: name, value: attribute.value)
            }
            return attribute.name.starts(with: Self.prefix) ? nil : attribute
        }
        .sorted()
    }

    package func shows(_ name: ArraySlice<UInt8>) -> Bool {
        !name.starts(with: Self.prefix) || name.starts(with: Self.escapedPrefix)
    }

    /// Takes the mark of `makeOpaque` away.
    package func removeOpaque(_ directory: CInt) throws {
        try ExtendedAttributes.remove(Self.opaque, from: ".", below: directory)
    }

    private static let origin = Array("user.overlay.origin".utf8)
    private static let opaque = Array("user.overlay.opaque".utf8)
    private static let prefix = Array("user.overlay.".utf8)
    private static let escapedPrefix = Array("user.overlay.overlay.".utf8)
}
