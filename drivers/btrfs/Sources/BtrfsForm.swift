// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

/// Whole trees; the file system's own properties (compression), which it shows as attributes, are no part of a layer.
struct BtrfsForm: TreeForm {
    private let plain = PlainForm()

    var isWholeTree: Bool { true }

    func makeWhiteout(_ name: TreePath, below directory: CInt) throws {
        try plain.makeWhiteout(name, below: directory)
    }

    func makeOpaque(_ directory: CInt) throws { try plain.makeOpaque(directory) }

    func isWhiteout(_ status: FileStatus, named name: TreePath) -> Bool { false }

    func isOpaque(_ directory: CInt) throws -> Bool { false }

    func stored(_ attributes: [ExtendedAttribute]) throws -> [ExtendedAttribute] { visible(attributes) }

    func visible(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] {
        attributes.contains(where: Self.isProperty) ? attributes.filter { !Self.isProperty($0) } : attributes
    }

    private static func isProperty(_ attribute: ExtendedAttribute) -> Bool {
        attribute.name.starts(with: "btrfs.".utf8)
    }
}
