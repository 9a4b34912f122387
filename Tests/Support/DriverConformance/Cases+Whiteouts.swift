// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

extension ConformanceCase {
    /// What layers hide, with and without something in its place.
    static let whiteouts: [ConformanceCase] = [
        ConformanceCase("empty base layer", layers: [[]], tree: [], changes: []),
        ConformanceCase("empty layer", layers: [base, []], tree: baseTree, changes: []),
        ConformanceCase(
            "whiteout of a file",
            layers: [base, [.whiteout("dir/one")]],
            tree: ["dir/", "dir/sub/", "dir/sub/deep", "dir/two", "file", "link -> file"],
            changes: ["C /", "C /dir", "D /dir/one"]
        ),
        ConformanceCase(
            "whiteout of a directory",
            layers: [base, [.whiteout("dir")]],
            tree: ["file", "link -> file"],
            changes: ["C /", "D /dir"]
        ),
        ConformanceCase(
            "whiteout of a symlink",
            layers: [base, [.whiteout("link")]],
            changes: ["C /", "D /link"]
        ),
        ConformanceCase(
            "whiteout of what is not there",
            layers: [base, [.whiteout("no"), .whiteout("none/such")]]
        ),
        ConformanceCase(
            "whiteouts in a base layer",
            layers: [[.whiteout("a"), .file("b"), .opaque("c")]],
            tree: ["b", "c/"]
        ),
        ConformanceCase(
            "device 0/0 is a whiteout",
            layers: [base, [.other("file", .characterDevice(DeviceNumber(major: 0, minor: 0)))]],
            tree: ["dir/", "dir/one", "dir/sub/", "dir/sub/deep", "dir/two", "link -> file"],
            changes: ["C /", "D /file"]
        ),
        ConformanceCase(
            "opaque directory",
            layers: [base, [.directory("dir"), .opaque("dir"), .file("dir/new", "new")]],
            tree: ["dir/", "dir/new", "file", "link -> file"],
            changes: ["C /", "C /dir", "A /dir/new", "D /dir/one", "D /dir/sub", "D /dir/two"]
        ),
        ConformanceCase(
            "opaque mark before its directory and after its content",
            layers: [base, [.opaque("dir"), .file("dir/new", "new"), .directory("dir")]],
            tree: ["dir/", "dir/new", "file", "link -> file"]
        ),
        ConformanceCase(
            "opaque mark last",
            layers: [base, [.file("dir/sub/new", "new"), .opaque("dir")]],
            tree: ["dir/", "dir/sub/", "dir/sub/new", "file", "link -> file"]
        ),
        ConformanceCase(
            "opaque directory with one file as it was",
            layers: [base, [.directory("dir"), .opaque("dir"), .file("dir/one", "one")]],
            tree: ["dir/", "dir/one", "file", "link -> file"],
            changes: ["C /", "C /dir", "D /dir/sub", "D /dir/two"]
        ),
        ConformanceCase(
            "opaque root",
            layers: [base, [.opaque(.root), .file("new", "new")]],
            tree: ["new"]
        ),
        ConformanceCase(
            "opaque where the parent has a file",
            layers: [base, [.opaque("file"), .file("file/x", "x")]],
            tree: baseTree.flatMap { $0 == "file" ? ["file/", "file/x"] : [$0] }
        ),
        ConformanceCase(
            "directory removed and made anew",
            layers: [
                base, [.whiteout("dir"), .directory("dir", mode: 0o700), .file("dir/sub", "now a file")],
            ],
            tree: ["dir/", "dir/sub", "file", "link -> file"],
            changes: ["C /", "C /dir", "D /dir/one", "C /dir/sub", "D /dir/two"]
        ),
        ConformanceCase(
            "directory made anew, whiteout last",
            layers: [base, [.directory("dir", mode: 0o700), .file("dir/x", "x"), .whiteout("dir")]],
            tree: ["dir/", "dir/x", "file", "link -> file"]
        ),
        ConformanceCase(
            "directory removed, and back two layers later",
            layers: [base, [.whiteout("dir")], [.file("dir/two", "back")]],
            tree: ["dir/", "dir/two", "file", "link -> file"],
            changes: ["C /", "A /dir", "A /dir/two"]
        ),
        ConformanceCase(
            "file becomes a directory and back",
            layers: [base, [.directory("file"), .file("file/in", "in")], [.file("file", "again")]],
            tree: baseTree,
            changes: ["C /", "C /file"]
        ),
        ConformanceCase(
            "directory becomes a file and back",
            layers: [base, [.file("dir", "file")], [.directory("dir"), .file("dir/new")]],
            tree: ["dir/", "dir/new", "file", "link -> file"]
        ),
        ConformanceCase(
            "directory becomes a symlink to itself moved",
            layers: [base, [.directory("moved"), .file("moved/one", "one"), .symlink("dir", to: "moved")]],
            tree: ["dir -> moved", "file", "link -> file", "moved/", "moved/one"]
        ),
        ConformanceCase(
            "symlink becomes a directory",
            layers: [base, [.directory("link"), .file("link/in", "in")]],
            tree: ["dir/", "dir/one", "dir/sub/", "dir/sub/deep", "dir/two", "file", "link/", "link/in"]
        ),
        ConformanceCase(
            "whiteout of what the same layer has",
            layers: [
                base,
                [.file("file", "new"), .whiteout("file"), .whiteout("dir/one"), .file("dir/one", "new")],
            ],
            tree: baseTree
        ),
        ConformanceCase(
            "later entry of the same path",
            layers: [
                base,
                [.file("x", "one"), .directory("x"), .file("x/y"), .file("x", "two"), .file("dir/two", "2")],
            ],
            tree: baseTree + ["x"]
        ),
        ConformanceCase("the same layer twice", layers: [base, base], tree: baseTree, changes: []),
    ]

    static let base: [EntrySpec] = [
        .directory(.root),
        .directory("dir"),
        .file("dir/one", "one"),
        .directory("dir/sub"),
        .file("dir/sub/deep", "deep"),
        .file("dir/two", "two"),
        .file("file", "file"),
        .symlink("link", to: "file"),
    ]

    static let baseTree = ["dir/", "dir/one", "dir/sub/", "dir/sub/deep", "dir/two", "file", "link -> file"]

    /// The cases whose answer hangs on opaque marks: they run in a user namespace too, where those of
    /// `trusted.overlay.*` would not be seen.
    package static var opaque: [ConformanceCase] {
        whiteouts.filter { $0.name.contains("opaque") || $0.name.contains("anew") }
    }
}
