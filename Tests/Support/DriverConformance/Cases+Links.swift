// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

extension ConformanceCase {
    /// Hard links, inside a layer and across layers, and what goes through symlinks.
    static let links: [ConformanceCase] = [
        ConformanceCase(
            "hard links in a layer",
            layers: [
                [.file("a", "text"), .hardLink("b", to: "a"), .directory("d"), .hardLink("d/c", to: "b")]
            ],
            tree: ["a = a", "b = a", "d/", "d/c = a"]
        ),
        ConformanceCase(
            "hard link before its target",
            layers: [[.hardLink("a", to: "z"), .hardLink("b", to: "a"), .file("z", "text")]],
            tree: ["a = a", "b = a", "z = a"]
        ),
        ConformanceCase(
            "hard link to a symlink, a fifo and a device",
            layers: [
                [
                    .symlink("s", to: "/etc/passwd"), .hardLink("t", to: "s"), .other("p", .fifo),
                    .hardLink("q", to: "p"),
                    .other("n", .characterDevice(DeviceNumber(major: 1, minor: 3))),
                    .hardLink("null", to: "n"),
                ]
            ],
            tree: [
                "n 1:3 = n", "null 1:3 = n", "p| = p", "q| = p", "s -> /etc/passwd = s",
                "t -> /etc/passwd = s",
            ]
        ),
        ConformanceCase(
            "hard link to a file of a lower layer",
            layers: [base, [.hardLink("dir/three", to: "dir/two"), .hardLink("other", to: "dir/two")]],
            tree: [
                "dir/", "dir/one", "dir/sub/", "dir/sub/deep", "dir/three = dir/three", "dir/two = dir/three",
                "file",
                "link -> file", "other = dir/three",
            ],
            changes: ["C /", "C /dir", "A /dir/three", "C /dir/two", "A /other"]
        ),
        ConformanceCase(
            "hard link to a file two layers below, in a directory that this layer implies",
            layers: [base, [.file("between")], [.hardLink("new/name", to: "dir/sub/deep")]],
            tree: [
                "between", "dir/", "dir/one", "dir/sub/", "dir/sub/deep = dir/sub/deep", "dir/two", "file",
                "link -> file",
                "new/", "new/name = dir/sub/deep",
            ]
        ),
        ConformanceCase(
            "hard link to a symlink of a lower layer",
            layers: [base, [.hardLink("link2", to: "link")]]
        ),
        ConformanceCase(
            "a name of a group removed in the next layer",
            layers: [[.file("a", "x"), .hardLink("b", to: "a"), .hardLink("c", to: "a")], [.whiteout("a")]],
            tree: ["b = b", "c = b"],
            changes: ["C /", "D /a"]
        ),
        ConformanceCase(
            "a name of a group replaced in the next layer",
            layers: [
                [.file("a", "x"), .hardLink("b", to: "a"), .hardLink("c", to: "a")], [.file("b", "other")],
            ],
            tree: ["a = a", "b", "c = a"],
            changes: ["C /", "C /b"]
        ),
        ConformanceCase(
            "a group of the next layer takes names of two groups",
            layers: [
                [.file("a", "x"), .hardLink("b", to: "a"), .file("c", "y"), .hardLink("d", to: "c")],
                [.file("a", "z"), .hardLink("c", to: "a")],
            ],
            tree: ["a = a", "b", "c = a", "d"]
        ),
        ConformanceCase(
            "long symlinks",
            layers: [
                [
                    .symlink("long", to: String(repeating: "x/", count: 2000)),
                    .symlink("dangling", to: "../../no"),
                ]
            ]
        ),
    ]
}
