// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import Storage

extension OverlayForm {
    /// Says of a layer whose root is opaque the same in marks that the kernel heeds on a root: a whiteout for each name
    /// of the parent that the layer does not have, an opaque mark on each directory that both have.
    ///
    /// - Parameters:
    ///   - root: the root of the layer.
    ///   - parent: gives the merged tree of the layers below, `nil` where there is none; asked only if the root is opaque.
    package func expandOpaqueRoot(_ root: CInt, parent: () throws -> SharedFD?) throws {
        guard try isOpaque(root) else { return }
        let mtime = try Files.status(of: root).mtime
        if let parent = try parent() {
            for entry in try Files.list(parent.raw) { try hide(entry.name, below: root, parent: parent.raw) }
        }
        try removeOpaque(root)
        try system("futimens") { clinux_utimensat(root, "", mtime.seconds, mtime.nanoseconds, 0) }
    }

    private func hide(_ name: TreePath, below root: CInt, parent: CInt) throws {
        guard let own = try Files.status(name, below: root) else {
            return try makeWhiteout(name, below: root)
        }
        guard own.kind == .directory, try Files.status(name, below: parent)?.kind == .directory else {
            return
        }
        let directory = try Files.openDirectory(name, below: root)
        try makeOpaque(directory.raw)
    }
}
