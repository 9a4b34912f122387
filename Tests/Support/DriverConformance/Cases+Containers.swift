// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage
import SystemPackage

extension ConformanceCase {
    /// What programs in a container do.
    static let containers: [ConformanceCase] = [
        ConformanceCase(
            "a container over nothing",
            layers: [],
            operations: [.write("a", "a")],
            tree: ["a"],
            changes: ["C /", "A /a"]
        ),
        ConformanceCase(
            "files made, changed, removed",
            layers: [base],
            operations: [
                .write("new", "new"), .append("dir/one", "more"), .unlink("dir/two"),
                .write("file", "longer than before"),
            ],
            tree: ["dir/", "dir/one", "dir/sub/", "dir/sub/deep", "file", "link -> file", "new"],
            changes: ["C /", "C /dir", "C /dir/one", "D /dir/two", "C /file", "A /new"]
        ),
        ConformanceCase(
            "copy-ups that change nothing",
            layers: [base, [.file("second", "2")]],
            operations: [
                .openForWriting("dir/one"), .openForWriting("second"), .chmod("dir/two", 0o644),
                .chown("dir/sub", 0, 0),
                .touch("dir/sub/deep", EntrySpec.standardTime), .chown("link", 0, 0), .append("file", ""),
                .touch("file", EntrySpec.standardTime),
            ],
            tree: [
                "dir/", "dir/one", "dir/sub/", "dir/sub/deep", "dir/two", "file", "link -> file", "second",
            ],
            changes: []
        ),
        ConformanceCase(
            "the same content again, with another time",
            layers: [base],
            operations: [.write("file", "file")],
            changes: ["C /", "C /file"]
        ),
        ConformanceCase(
            "other content of the same size and time",
            layers: [base],
            operations: [.write("file", "elif"), .touch("file", EntrySpec.standardTime)],
            changes: ["C /", "C /file"]
        ),
        ConformanceCase(
            "modes, owners, attributes",
            layers: [base],
            operations: [
                .chmod("dir", 0o1777), .chown("dir/one", 70_000, 5), .setAttribute("dir/two", "user.x", [1]),
                .chown("link", 9, 9),
                .chmod("dir/sub/deep", 0o4755),
            ],
            changes: [
                "C /", "C /dir", "C /dir/one", "C /dir/sub", "C /dir/sub/deep", "C /dir/two", "C /link",
            ]
        ),
        ConformanceCase(
            "directory removed",
            layers: [base],
            operations: [.removeTree("dir")],
            tree: ["file", "link -> file"],
            changes: ["C /", "D /dir"]
        ),
        ConformanceCase(
            "directory removed and made anew",
            layers: [base],
            operations: [
                .removeTree("dir"), .makeDirectory("dir"), .write("dir/one", "new one"),
                .write("dir/new", "new"),
            ],
            tree: ["dir/", "dir/new", "dir/one", "file", "link -> file"],
            changes: ["C /", "C /dir", "A /dir/new", "C /dir/one", "D /dir/sub", "D /dir/two"]
        ),
        ConformanceCase(
            "directory made anew just as it was",
            layers: [base],
            operations: [
                .removeTree("dir"), .makeDirectory("dir"), .write("dir/one", "one"),
                .touch("dir/one", EntrySpec.standardTime),
                .write("dir/two", "two"), .touch("dir/two", EntrySpec.standardTime),
                .makeDirectory("dir/sub"),
                .write("dir/sub/deep", "deep"), .touch("dir/sub/deep", EntrySpec.standardTime),
                .touch("dir/sub", EntrySpec.standardTime), .touch("dir", EntrySpec.standardTime),
                .touch(.root, EntrySpec.standardTime),
            ],
            tree: baseTree,
            changes: []
        ),
        ConformanceCase(
            "directory anew inside a directory anew",
            layers: [base],
            operations: [
                .removeTree("dir"), .makeDirectory("dir"), .makeDirectory("dir/sub"),
                .write("dir/sub/x", "x"),
                .removeTree("dir/sub"), .makeDirectory("dir/sub", mode: 0o700),
            ],
            tree: ["dir/", "dir/sub/", "file", "link -> file"],
            changes: ["C /", "C /dir", "D /dir/one", "C /dir/sub", "D /dir/sub/deep", "D /dir/two"]
        ),
        ConformanceCase(
            "file becomes a directory",
            layers: [base],
            operations: [.unlink("file"), .makeDirectory("file"), .write("file/in", "in")],
            changes: ["C /", "C /file", "A /file/in"]
        ),
        ConformanceCase(
            "directory becomes a file",
            layers: [base],
            operations: [.removeTree("dir"), .write("dir", "file")],
            tree: ["dir", "file", "link -> file"],
            changes: ["C /", "C /dir"]
        ),
        ConformanceCase(
            "directory becomes a symlink and a directory again",
            layers: [base],
            operations: [
                .removeTree("dir"), .symlink("dir", to: "/"), .unlink("dir"), .makeDirectory("dir"),
                .write("dir/one", "1"),
            ],
            changes: ["C /", "C /dir", "C /dir/one", "D /dir/sub", "D /dir/two"]
        ),
        ConformanceCase(
            "made and removed again",
            layers: [base],
            operations: [
                .makeDirectory("new"), .write("new/x", "x"), .removeTree("new"),
                .touch(.root, EntrySpec.standardTime),
            ],
            tree: baseTree,
            changes: []
        ),
        ConformanceCase(
            "files renamed",
            layers: [base],
            operations: [
                .rename("file", to: "dir/file"), .rename("dir/one", to: "dir/two"),
                .rename("link", to: "dir/sub/link"),
            ],
            tree: ["dir/", "dir/file", "dir/sub/", "dir/sub/deep", "dir/sub/link -> file", "dir/two"],
            changes: [
                "C /", "C /dir", "A /dir/file", "D /dir/one", "C /dir/sub", "A /dir/sub/link", "C /dir/two",
                "D /file", "D /link",
            ]
        ),
        ConformanceCase(
            "new directory renamed over one that was removed",
            layers: [base],
            operations: [
                .makeDirectory("new"), .write("new/one", "1"), .makeDirectory("new/sub"), .removeTree("dir"),
                .rename("new", to: "dir"),
            ],
            tree: ["dir/", "dir/one", "dir/sub/", "file", "link -> file"],
            changes: ["C /", "C /dir", "C /dir/one", "C /dir/sub", "D /dir/sub/deep", "D /dir/two"]
        ),
        ConformanceCase(
            "hard links of new files",
            layers: [base],
            operations: [.write("a", "a"), .link("b", to: "a"), .link("dir/c", to: "a"), .unlink("a")],
            changes: ["C /", "A /b", "C /dir", "A /dir/c"]
        ),
        ConformanceCase(
            "hard links of a file of the image",
            layers: [base],
            operations: [.link("dir/three", to: "dir/two"), .link("other", to: "dir/two")],
            changes: ["C /", "C /dir", "A /dir/three", "C /dir/two", "A /other"]
        ),
        ConformanceCase(
            "a name of a group of the image removed and replaced",
            layers: [[.file("a", "x"), .hardLink("b", to: "a"), .hardLink("c", to: "a"), .file("d", "y")]],
            operations: [.unlink("a"), .rename("d", to: "b")],
            tree: ["b", "c"],
            changes: ["C /", "D /a", "C /b", "D /d"]
        ),
        ConformanceCase(
            "everything removed",
            layers: [base, [.file("more/x")]],
            operations: [.removeTree("dir"), .unlink("file"), .unlink("link"), .removeTree("more")],
            tree: [],
            changes: ["C /", "D /dir", "D /file", "D /link", "D /more"]
        ),
        ConformanceCase(
            "whiteouts of several layers under a container",
            layers: [
                base, [.whiteout("dir/one"), .opaque("dir/sub")],
                [.file("dir/one", "again"), .file("dir/sub/new", "n")],
            ],
            operations: [
                .unlink("dir/one"), .removeTree("dir/sub"), .makeDirectory("dir/sub"),
                .write("dir/sub/deep", "deep"),
            ],
            tree: ["dir/", "dir/sub/", "dir/sub/deep", "dir/two", "file", "link -> file"],
            changes: ["C /", "C /dir", "D /dir/one", "C /dir/sub", "A /dir/sub/deep", "D /dir/sub/new"]
        ),
    ]

    /// What a driver may do otherwise than plain directories, as it then does it.
    static let departures: [ConformanceCase] = [
        ConformanceCase(
            "renaming a directory of the image is EXDEV",
            layers: [base],
            operations: [
                .fails(.improperLink, .rename("dir", to: "moved")), .makeDirectory("mine"),
                .rename("mine", to: "yours"),
            ],
            tree: baseTree + ["yours/"],
            changes: ["C /", "A /yours"],
            departure: .directoryRename
        ),
        ConformanceCase(
            "making a device 0/0 is EPERM",
            layers: [base],
            operations: [.fails(.notPermitted, .makeNode("white", .characterDevice))],
            tree: baseTree,
            changes: [],
            departure: .whiteoutDevice
        ),
        ConformanceCase(
            "a change through one name of a group takes it from the group",
            layers: [[.file("a", "x"), .hardLink("b", to: "a"), .hardLink("c", to: "a")]],
            operations: [.append("a", "y")],
            tree: ["a", "b = b", "c = b"],
            changes: ["C /", "C /a"],
            departure: .linkGroups
        ),
        ConformanceCase(
            "a copy-up takes a name from its group and changes nothing else",
            layers: [
                [
                    .directory("d"), .file("d/a", "x"), .hardLink("d/b", to: "d/a"), .directory("e"),
                    .hardLink("e/c", to: "d/a"),
                ],
                [.file("other")],
            ],
            operations: [.openForWriting("d/a")],
            tree: ["d/", "d/a", "d/b = d/b", "e/", "e/c = d/b", "other"],
            changes: ["C /", "C /d", "C /d/a", "C /d/b", "C /e", "C /e/c"],
            departure: .linkGroups
        ),
        ConformanceCase(
            "a copy-up of a name whose group is hidden in part",
            layers: [
                [
                    .directory("d"), .file("a", "x"), .hardLink("b", to: "a"), .hardLink("d/c", to: "a"),
                    .hardLink("e", to: "a"),
                ],
                [.whiteout("b")],
            ],
            operations: [.openForWriting("a"), .removeTree("d"), .makeDirectory("d"), .unlink("e")],
            tree: ["a", "d/"],
            changes: ["C /", "C /d", "D /d/c", "D /e"],
            departure: .linkGroups
        ),
        ConformanceCase(
            "a new name for one name of a group",
            layers: [[.file("a", "x"), .hardLink("b", to: "a")]],
            operations: [.link("c", to: "b")],
            tree: ["a", "b = b", "c = b"],
            changes: ["C /", "C /a", "C /b", "A /c"],
            departure: .linkGroups
        ),
        ConformanceCase(
            "attributes user.overlay.* are refused",
            layers: [base, [.file("f", xattrs: ["user.overlay.opaque": [0x79]])]],
            refused: Refusal(.unsupported, naming: "/f"),
            departure: .overlayAttributes
        ),
    ]
}
