// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

extension ConformanceCase {
    /// Layers that want out of their tree or that no file system can hold.
    ///
    /// A reader of tars refuses most of them before; a driver must not depend on that.
    static let hostile: [ConformanceCase] = refusedPaths + refusedLinks + refusedMetadata + harmless

    private static func refused(
        _ name: String,
        _ entries: [EntrySpec],
        naming entry: String
    ) -> ConformanceCase {
        ConformanceCase("hostile: " + name, layers: [base, entries], refused: Refusal(naming: entry))
    }

    private static func path(_ text: String) -> TreePath { TreePath(bytes: Array(text.utf8)) }

    private static let refusedPaths: [ConformanceCase] = [
        refused(
            "path above the root",
            [.file("first"), .file("../outside/x", "x")],
            naming: "/../outside/x"
        ),
        refused("path that goes up inside", [.file("a/../../x")], naming: "/a/../../x"),
        refused("path that goes up and down", [.file("dir/../x")], naming: "/dir/../x"),
        refused("path of a dot", [.file("./x")], naming: "/./x"),
        refused("name of a dot", [.file("dir/.")], naming: "/dir/."),
        refused("absolute path", [.file("/x")], naming: "//x"),
        refused("empty component", [.file("dir//x")], naming: "/dir//x"),
        refused("name with a zero byte", [.file(TreePath(bytes: [0x61, 0, 0x62]))], naming: "/a\\x00b"),
        refused("name of 256 bytes", [.file(path(String(repeating: "n", count: 256)))], naming: "/nnn"),
        refused("name of 64 KiB", [.file(path(String(repeating: "n", count: 64 << 10)))], naming: "/nnn"),
        refused("directory above the root", [.directory("..")], naming: "/.."),
        refused("whiteout above the root", [.whiteout("../outside/canary")], naming: "/../outside/canary"),
        refused("opaque above the root", [.opaque("../outside")], naming: "/../outside"),
        refused("file in place of the root", [.file(.root, "x")], naming: "entry /"),
        refused("symlink in place of the root", [.symlink(.root, to: "/etc")], naming: "entry /"),
        refused("whiteout of the root", [.whiteout(.root)], naming: "entry /"),
        refused(
            "path of 5,000 directories",
            [.file(path(String(repeating: "d/", count: 5000) + "f"))],
            naming: "/d/d/"
        ),
    ]

    private static let refusedLinks: [ConformanceCase] = [
        refused("hard link to outside", [.hardLink("x", to: "../../outside/canary")], naming: "/x"),
        refused("hard link to a missing file", [.hardLink("x", to: "no/such")], naming: "/x"),
        refused("hard link to itself", [.hardLink("x", to: "x")], naming: "/x"),
        refused("hard link to below itself", [.hardLink("x", to: "x/y")], naming: "/x"),
        refused("hard links in a circle", [.hardLink("x", to: "y"), .hardLink("y", to: "x")], naming: "/"),
        refused(
            "hard link to a directory of the layer",
            [.directory("d"), .hardLink("x", to: "d")],
            naming: "/x"
        ),
        refused("hard link to a directory of a lower layer", [.hardLink("x", to: "dir")], naming: "/x"),
        refused("hard link to the root", [.hardLink("x", to: .root)], naming: "/x"),
        refused(
            "hard link through a symlink",
            [.symlink("out", to: "../../../outside"), .hardLink("x", to: "out/canary")],
            naming: "/x"
        ),
        refused("hard link through a symlink of a lower layer", [.hardLink("x", to: "link/y")], naming: "/x"),
    ]

    private static let refusedMetadata: [ConformanceCase] = [
        refused("owner -1", [.file("x", uid: .max)], naming: "/x"),
        refused("group -1", [.file("x", gid: .max)], naming: "/x"),
    ]

    /// Symlinks that lead to the directory `outside` from wherever a driver may have its trees.
    private static let exits = (1...5).map { up in
        EntrySpec.symlink(path("exit\(up)"), to: String(repeating: "../", count: up) + "outside")
    }

    private static func through(_ entry: (TreePath) -> EntrySpec) -> [EntrySpec] {
        (1...5).map { entry(path("exit\($0)/canary")) }
    }

    /// Legal, and dangerous only to who follows links.
    private static let harmless: [ConformanceCase] = [
        ConformanceCase("hostile: write through a symlink", layers: [exits + through { .file($0, "x") }]),
        ConformanceCase(
            "hostile: write through a symlink of a lower layer",
            layers: [exits, through { .file($0, "x") }]
        ),
        ConformanceCase("hostile: whiteout through a symlink", layers: [exits, through { .whiteout($0) }]),
        ConformanceCase(
            "hostile: opaque through a symlink",
            layers: [exits, (1...5).map { .opaque(path("exit\($0)")) }]
        ),
        ConformanceCase(
            "hostile: directory over a symlink",
            layers: [exits, (1...5).map { .directory(path("exit\($0)"), mode: 0o777) }]
        ),
        ConformanceCase(
            "hostile: file over a symlink",
            layers: [exits, (1...5).map { .file(path("exit\($0)"), "x") }]
        ),
        ConformanceCase(
            "hostile: hard link over a symlink",
            layers: [exits + [.file("f"), .hardLink("exit3", to: "f")]]
        ),
        ConformanceCase(
            "hostile: attributes and times of symlinks",
            layers: [
                [.symlink("s", to: "../../../outside/canary"), .symlink("loop", to: "loop"), .file("loop/x")]
            ]
        ),
        ConformanceCase(
            "hostile: symlink in place of a directory written to",
            layers: [
                [
                    .directory("d"), .file("d/a"), .symlink("d", to: "../../../outside"),
                    .file("d/canary", "x"),
                ]
            ],
            tree: ["d/", "d/canary"]
        ),
        ConformanceCase(
            "hostile: parent that is a file",
            layers: [[.file("a", "x"), .file("a/b/c", "y")]],
            tree: ["a/", "a/b/", "a/b/c"]
        ),
        ConformanceCase(
            "hostile: parent that is a fifo",
            layers: [[.other("a", .fifo), .file("a/b", "y")]],
            tree: ["a/", "a/b"]
        ),
        ConformanceCase(
            "hostile: system directories as symlinks",
            layers: [["dev", "proc", "sys", "etc"].map { .symlink(path($0), to: "/tmp") }],
            tree: ["dev -> /tmp", "etc -> /tmp", "proc -> /tmp", "sys -> /tmp"]
        ),
        ConformanceCase(
            "hostile: thousands of marks",
            layers: [
                base,
                (0..<1000).flatMap { _ in
                    [EntrySpec.opaque("dir"), .whiteout("dir/one"), .file("dir/x", "x")]
                },
            ],
            tree: ["dir/", "dir/x", "file", "link -> file"]
        ),
    ]
}
