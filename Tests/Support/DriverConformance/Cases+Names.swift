// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

extension ConformanceCase {
    private static let longName = TreePath(bytes: [UInt8](repeating: UInt8(ascii: "n"), count: 255))
    private static let hundred = TreePath(bytes: [UInt8](repeating: UInt8(ascii: "d"), count: 100))

    /// A path of `count` directories of 100 bytes each.
    private static func deep(_ count: Int) -> TreePath {
        (0..<count).reduce(TreePath.root) { path, _ in path.appending(hundred) }
    }

    /// Names as the kernel allows them, and paths that no single call takes.
    static let names: [ConformanceCase] = [
        ConformanceCase(
            "names that are not UTF-8",
            layers: [
                [
                    .file(TreePath(bytes: [0xFF, 0xFE]), "a"), .directory(TreePath(bytes: [0xC0, 0x80])),
                    .file(TreePath(bytes: [0xC0, 0x80, 0x2F, 0xED, 0xA0, 0x80]), "b"), .file("caf\u{e9}"),
                    .file("cafe\u{301}"),
                ],
                [.whiteout(TreePath(bytes: [0xFF, 0xFE]))],
            ],
            operations: [.write(TreePath(bytes: [0xC0, 0x80, 0x2F, 0xFF]), "new"), .unlink("cafe\u{301}")]
        ),
        ConformanceCase(
            "names with signs",
            layers: [
                [
                    .file("a:b"), .file("a,b"), .file("a\\b"), .file("a=b"), .file("a\nb"), .file(" "),
                    .file("-rf"), .file("*"),
                    .file("..."), .file("a "), .directory("d:"), .file("d:/x,y"), .file("Case"),
                    .file("case"), .file("#"),
                ],
                [.file("d:/new"), .whiteout("a,b")],
            ],
            operations: [.write("d:/x,y", "changed"), .unlink("a:b")]
        ),
        ConformanceCase(
            "names of 255 bytes",
            layers: [
                [.file(longName, "x"), .directory("d"), .directory(TreePath("d").appending(longName))],
                [.whiteout(longName), .file(TreePath("d").appending(longName).appending(longName), "y")],
            ],
            operations: [.write(longName, "z"), .removeTree(TreePath("d").appending(longName))],
            changes: ["C /", "C /d", "D /d/\(longName.printable)", "A /\(longName.printable)"]
        ),
        ConformanceCase(
            "paths longer than 4096 bytes",
            layers: [
                [.file(deep(42).appending("file"), "x"), .hardLink("top", to: deep(42).appending("file"))],
                [.file(deep(42).appending("second"), "y"), .whiteout(deep(40).appending("none"))],
            ],
            operations: [
                .write(deep(42).appending("second"), "changed"), .makeDirectory(deep(43)),
                .write(deep(43).appending("f"), "z"),
            ]
        ),
        ConformanceCase(
            "removing what is deep",
            layers: [[.file(deep(42).appending("file"), "x")], [.whiteout(deep(30))]],
            operations: [.removeTree(hundred), .write("only", "this")],
            tree: ["only"],
            changes: ["C /", "D /\(hundred.printable)", "A /only"]
        ),
        ConformanceCase(
            "order of changes is that of bytes",
            layers: [[.directory("a"), .file("a/b"), .file("a-b"), .file("a.b"), .file("ab")]],
            operations: [.append("a/b", "1"), .append("a-b", "2"), .append("a.b", "3"), .append("ab", "4")],
            changes: ["C /", "C /a", "C /a-b", "C /a.b", "C /a/b", "C /ab"]
        ),
    ]
}
