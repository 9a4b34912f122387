// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
package import SystemPackage

/// Finds out by doing what overlay mounts can do on a file system.
package struct OverlayProbe: Sendable {
    /// How the mount was made.
    package var method: OverlayMount.Method
    /// Whether the kernel shows `user.overlay.overlay.x` as `user.overlay.x` (Linux 6.7).
    package var escapes: Bool

    /// Mounts two layers and a writable one and checks each mark of `OverlayForm` in both directions.
    ///
    /// - Parameter scratch: an empty directory, whose files are left to the caller to remove.
    ///
    /// Throws `SystemError` where a call fails, and `StorageError` where it does something else than it should.
    package init(in scratch: FilePath, method: OverlayMount.Method? = nil) throws {
        self.method = method ?? OverlayMount.method
        escapes = false
        let directory = try Files.openDirectory(scratch)
        for name in ["lower", "middle", "upper", "work", "empty"] {
            try Files.makeDirectory(name, below: directory.raw, mode: 0o755)
        }
        let form = OverlayForm(kernelEscapes: { true })
        try Self.fill(directory.raw, form: form)
        var mount = OverlayMount(
            directory: scratch,
            parents: ["lower", "middle"],
            upper: ("upper", "work"),
            empty: "empty"
        )
        // Its end would sync the whole file system.
        mount.isVolatile = true
        let root = try mount.make(self.method)
        try expect(Files.status("deleted", below: root.raw) == nil, "a whiteout hides nothing")
        let hidden = try Files.openDirectory("hidden", below: root.raw)
        try expect(Files.list(hidden.raw).isEmpty, "an opaque directory hides nothing")
        try Files.unlink("kept", below: root.raw)
        let upper = try Files.openDirectory("upper", below: directory.raw)
        let mark = try Files.status("kept", below: upper.raw)
        try expect(mark?.isWhiteoutDevice == true, "removing a file leaves no whiteout")
        let entry = try Files.list(upper.raw).first
        try expect(entry?.kind == .characterDevice, "directories do not tell the type of names (d_type)")
        let file = try Files.open("attributes", below: root.raw, O_RDONLY)
        escapes = try ExtendedAttributes.value("user.overlay.strata", of: file.raw) != nil
    }

    private static func fill(_ directory: CInt, form: OverlayForm) throws {
        let lower = try Files.openDirectory("lower", below: directory)
        for name in ["deleted", "kept", "attributes"] {
            _ = try Files.open(name, below: lower.raw, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
        }
        let attribute = ExtendedAttribute(name: Array("user.overlay.strata".utf8), value: [1])
        for stored in try form.stored([attribute]) {
            try ExtendedAttributes.set(stored, on: "attributes", below: lower.raw)
        }
        try Files.makeDirectory("hidden", below: lower.raw, mode: 0o755)
        let hidden = try Files.openDirectory("hidden", below: lower.raw)
        _ = try Files.open("file", below: hidden.raw, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)

        let middle = try Files.openDirectory("middle", below: directory)
        try form.makeWhiteout("deleted", below: middle.raw)
        try Files.makeDirectory("hidden", below: middle.raw, mode: 0o755)
        let opaque = try Files.openDirectory("hidden", below: middle.raw)
        try form.makeOpaque(opaque.raw)
    }

    private func expect(_ isTrue: Bool, _ fault: String) throws {
        if !isTrue {
            throw StorageError(.unsupported, "an overlay mount on this file system does not work: \(fault)")
        }
    }
}
