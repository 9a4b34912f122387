// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage

extension ConformanceCase {
    /// All but the longest chain, which is left to the long form of the tests, for drivers to which a layer costs
    /// tenths of a second.
    package static let withoutLongest =
        getenv("STRATA_TEST_FULL") == nil ? all.filter { $0.name != "\(longest) layers" } : all

    private static let longest = 400

    /// Chains of 1 to 400 layers, which overwrite, hide and bring back each other's files.
    static let depths: [ConformanceCase] = [1, 2, 128, longest].map { depth in
        ConformanceCase(
            "\(depth) layers",
            layers: (0..<depth).map(layer),
            operations: [
                .append("plain", "container"), .unlink("file0"), .unlink("always"), .removeTree("dir"),
                .makeDirectory("dir"),
                .write("dir/new", "new"), .chmod(.root, 0o711),
            ]
        )
    }

    private static func layer(_ index: Int) -> [EntrySpec] {
        func name(_ text: String) -> TreePath { TreePath(bytes: Array(text.utf8)) }
        var entries: [EntrySpec] = [
            .file(name("file\(index % 7)"), "layer \(index)"), .file("always", "\(index)"),
            .file(name("dir/sub\(index % 5)/file"), "\(index)"),
        ]
        // The container changes this one; the others come to have several names.
        if index == 0 { entries.append(.file("plain", "base")) }
        if index % 3 == 1 { entries.append(.whiteout(name("file\((index + 3) % 7)"))) }
        if index % 11 == 10 { entries.append(.opaque("dir")) }
        if index % 4 == 2 {
            entries.append(.hardLink(name("link\(index % 3)"), to: name("file\(index % 7)")))
        }
        if index % 13 == 12 { entries.append(.whiteout(name("dir/sub\((index + 1) % 5)"))) }
        return entries
    }
}
