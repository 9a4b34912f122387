// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

extension ConformanceCase {
    private static func little(_ values: UInt32...) -> [UInt8] {
        values.flatMap { value in [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) } }
    }

    /// A POSIX ACL as its attribute holds it: version 2, then tag and permissions, and id, of each entry.
    private static func acl(mask: UInt32, user: UInt32) -> [UInt8] {
        little(
            2,
            7 << 16 | 1,
            .max,
            4 << 16 | 2,
            user,
            5 << 16 | 4,
            .max,
            mask << 16 | 0x10,
            .max,
            5 << 16 | 0x20,
            .max
        )
    }

    /// cap_net_bind_service, effective and permitted, version 2.
    private static let capability = little(0x0200_0001, 1 << 10, 0, 0, 0)

    /// Everything that a file is besides its content.
    static let metadata: [ConformanceCase] = [
        ConformanceCase(
            "modes",
            layers: [
                [
                    .file("setuid", mode: 0o4755), .file("setgid", mode: 0o2711),
                    .directory("sticky", mode: 0o1777),
                    .directory("group", mode: 0o2775, gid: 50), .file("group/in"), .directory("group/sub"),
                    .file("none", mode: 0), .directory("closed", mode: 0), .file("closed/in", mode: 0o7777),
                ]
            ]
        ),
        ConformanceCase(
            "owners",
            layers: [
                [
                    .file("a", uid: 65_536, gid: 4_000_000_000), .directory("d", uid: 70_000, gid: 70_000),
                    .file("d/f"),
                    .symlink("s", to: "a", uid: 65_537), .file("setuid", mode: 0o6755, uid: 1000, gid: 1000),
                ]
            ]
        ),
        ConformanceCase(
            "times",
            layers: [
                [
                    .file("ns", mtime: Timestamp(seconds: 1, nanoseconds: 999_999_999)),
                    .file("before", mtime: Timestamp(seconds: -1_000_000_000, nanoseconds: 1)),
                    .file("epoch", mtime: Timestamp(seconds: 0)),
                    .file("late", mtime: Timestamp(seconds: 4_500_000_000)),
                    .directory("d", mtime: Timestamp(seconds: -1, nanoseconds: 5)), .file("d/f"),
                ]
            ]
        ),
        ConformanceCase(
            "extended attributes",
            layers: [
                [
                    .file(
                        "f",
                        "x",
                        xattrs: [
                            "user.a": [0, 1, 2], "user.empty": [], "trusted.t": [9], "security.strata": [1],
                        ]
                    ),
                    .directory("d", xattrs: ["user.d": [1]]), .file("d/f"),
                ],
                [.file("d/f", xattrs: ["user.new": [7]])], [.directory("d", xattrs: ["user.other": [1]])],
            ]
        ),
        ConformanceCase(
            "only an attribute differs",
            layers: [[.file("f", "x", xattrs: ["user.a": [1]])], [.file("f", "x", xattrs: ["user.a": [2]])]],
            changes: ["C /", "C /f"]
        ),
        ConformanceCase(
            "file capabilities",
            layers: [[.file("ping", "x", mode: 0o755, uid: 1, xattrs: ["security.capability": capability])]],
            operations: [.chmod("ping", 0o711)],
            changes: ["C /", "C /ping"]
        ),
        ConformanceCase(
            "access control lists",
            layers: [
                [
                    .file("f", mode: 0o755, xattrs: ["system.posix_acl_access": acl(mask: 5, user: 1000)]),
                    .directory(
                        "d",
                        mode: 0o755,
                        xattrs: ["system.posix_acl_default": acl(mask: 5, user: 70_000)]
                    ),
                    .file("d/f", mode: 0o600), .directory("d/sub", mode: 0o700),
                ]
            ],
            operations: [.write("d/made", "takes the default"), .chmod("f", 0o700)]
        ),
        ConformanceCase(
            "attributes of overlay mounts are plain data",
            layers: [
                [
                    .directory(
                        "d",
                        xattrs: [
                            "trusted.overlay.opaque": [0x79], "trusted.overlay.redirect": Array("/x".utf8),
                        ]
                    ),
                    .file(
                        "d/f",
                        "x",
                        xattrs: ["trusted.overlay.metacopy": [], "trusted.overlay.whiteout": [0x79]]
                    ),
                    .file("o", xattrs: ["trusted.overlay.origin": [0, 0xFB]]),
                ],
                [.directory("d", xattrs: ["trusted.overlay.opaque": [0x79]]), .file("d/g")],
            ],
            tree: ["d/", "d/f", "d/g", "o"]
        ),
        ConformanceCase(
            "attributes of overlay mounts of users are plain data",
            layers: [
                [.directory("d"), .file("d/f", "x"), .file("e", "y")],
                [
                    .directory(
                        "d",
                        xattrs: ["user.overlay.opaque": [0x79], "user.overlay.overlay.opaque": [0x79]]
                    ),
                    .file(
                        "e",
                        "",
                        xattrs: ["user.overlay.whiteout": [], "user.overlay.overlay.overlay.x": [1]]
                    ),
                ],
            ],
            operations: [
                .setAttribute("d/f", "user.overlay.redirect", Array("/etc".utf8)),
                .setAttribute("d", "user.overlay.opaque", [0x6E]),
                .removeAttribute("e", "user.overlay.whiteout"),
            ],
            tree: ["d/", "d/f", "e"],
            changes: ["C /", "C /d", "C /d/f", "C /e"],
            unless: .overlayAttributes
        ),
        ConformanceCase(
            "devices, fifos, sockets",
            layers: [
                [
                    .other("null", .characterDevice(DeviceNumber(major: 1, minor: 3)), mode: 0o666),
                    .other("loop", .blockDevice(DeviceNumber(major: 7, minor: 300)), mode: 0o660),
                    .other("pipe", .fifo),
                    .other("socket", .socket, mode: 0o700),
                    .other("zero", .blockDevice(DeviceNumber(major: 0, minor: 0))),
                ]
            ],
            operations: [
                .makeNode("tty", .characterDevice, DeviceNumber(major: 5, minor: 0)), .makeNode("p2", .fifo),
                .chmod("null", 0o600),
                .unlink("loop"),
            ],
            tree: ["null 1:3", "p2|", "pipe|", "socket socket", "tty 5:0", "zero 0:0"],
            changes: ["C /", "D /loop", "C /null", "A /p2", "A /tty"]
        ),
        ConformanceCase(
            "sparse files",
            layers: [
                [
                    .sparse("hole", size: 1 << 20, []),
                    .sparse("end", size: 1 << 20, [((1 << 20) - 4, [1, 2, 3, 4])]),
                    .sparse("start", size: 3 << 20, [(0, [1, 2, 3, 4])]),
                ],
                [.hardLink("again", to: "end")],
            ],
            operations: [.truncate("start", 4 << 20), .write("made", ""), .truncate("made", 1 << 20)]
        ),
        ConformanceCase(
            "implied directories keep the parent's metadata",
            layers: [
                [
                    .directory("tmp", mode: 0o1777, gid: 7, xattrs: ["user.t": [1]]),
                    .directory("tmp/deep", mode: 0o750),
                    .directory("var"),
                ],
                [.file("tmp/x", "x"), .file("tmp/deep/y", "y"), .file("new/dir/z", "z")],
                [.file("tmp/deep/more/w", "w")],
            ],
            tree: [
                "new/", "new/dir/", "new/dir/z", "tmp/", "tmp/deep/", "tmp/deep/more/", "tmp/deep/more/w",
                "tmp/deep/y", "tmp/x", "var/",
            ],
            changes: ["C /", "C /tmp", "C /tmp/deep", "A /tmp/deep/more", "A /tmp/deep/more/w"]
        ),
        ConformanceCase(
            "an implied directory where the parent has none",
            layers: [base, [.file("file/in/here", "x"), .file("link/in", "y")]]
        ),
        ConformanceCase(
            "an implied root keeps the parent's metadata, and none of its marks",
            layers: [
                [
                    .directory(
                        .root,
                        mode: 0o750,
                        uid: 5,
                        gid: 6,
                        xattrs: ["user.root": [1], "trusted.overlay.opaque": [0x79]]
                    ),
                    .file("a"),
                ],
                [.file("b")], [.opaque(.root), .file("c")], [.file("d")],
            ],
            tree: ["c", "d"]
        ),
        ConformanceCase(
            "the root's metadata",
            layers: [
                [.directory(.root, mode: 0o750, uid: 5, gid: 6, xattrs: ["user.root": [1]]), .file("a")],
                [.file("b")],
                [.directory(.root, mode: 0o711)],
            ],
            operations: [.write("c", "c")],
            changes: ["C /", "A /c"]
        ),
    ]
}
