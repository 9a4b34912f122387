// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
package import Storage

/// How a layer lies on disk for our union file system: as in a layer tar.
///
/// Whiteout of `x`: an empty file `.wh.x`. Opaque directory: an empty file `.wh..wh..opq` in it. What stands at `x`
/// beside `.wh.x` is the layer's own, and hides what is below as well. A name for which `.wh.` leaves no room is hidden
/// by a character device 0/0 of that name, as overlays do it.
package struct AUFSForm: TreeForm {
    /// The longest name before which `.wh.` fits.
    private static let longestName = 251
    private static let prefix = Array(".wh.".utf8)
    private static let opaque: TreePath = ".wh..wh..opq"

    package init() {}

    package var isWholeTree: Bool { false }

    package func makeWhiteout(_ name: TreePath, below directory: CInt) throws {
        if name.bytes.count > Self.longestName {
            try system("mknod", name.printable) {
                name.withCPath { clinux_mknodat(directory, $0, FileKind.characterDevice.formatBits, 0, 0) }
            }
        } else {
            try makeMark(Self.mark(of: name), below: directory)
        }
    }

    package func makeOpaque(_ directory: CInt) throws { try makeMark(Self.opaque, below: directory) }

    private func makeMark(_ name: TreePath, below directory: CInt) throws(SystemError) {
        _ = try Files.open(name, below: directory, O_WRONLY | O_CREAT | O_NOFOLLOW, mode: 0o444)
    }

    package func isWhiteout(_ status: FileStatus, named name: TreePath) -> Bool {
        status.isWhiteoutDevice && name.bytes.count > Self.longestName
    }

    package func isOpaque(_ directory: CInt) throws -> Bool {
        try Files.status(Self.opaque, below: directory) != nil
    }

    package func meaning(of name: TreePath) -> NameMeaning {
        guard name.bytes.starts(with: Self.prefix) else { return .entry }
        let rest = Array(name.bytes.dropFirst(Self.prefix.count))
        return rest.isEmpty || rest.starts(with: Self.prefix) ? .mark : .whiteout(TreePath(bytes: rest))
    }

    package func hides(_ name: TreePath, below directory: CInt) throws -> Bool {
        guard name.bytes.count <= Self.longestName else { return false }
        return try Files.status(Self.mark(of: name), below: directory) != nil
    }

    package func removeWhiteout(_ name: TreePath, below directory: CInt) throws -> Bool {
        guard name.bytes.count <= Self.longestName else { return false }
        return try Files.unlink(Self.mark(of: name), below: directory)
    }

    package func stored(_ attributes: [ExtendedAttribute]) throws -> [ExtendedAttribute] { attributes }

    package func visible(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] { attributes }

    private static func mark(of name: TreePath) -> TreePath { TreePath(bytes: prefix + name.bytes) }
}
