// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import Testing

/// Tars that lie: each is refused with one line that names the layer and, where it has a name, the entry.
@Suite struct TarHostileTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var tar: [UInt8]
        /// What the line must have besides the label.
        var words: [String]

        init(_ name: String, _ tar: [UInt8], _ words: String...) {
            testDescription = name
            self.tar = tar
            self.words = words
        }
    }

    static let names: [Case] = [
        Case("parent", member(RawHeader("../x")), "entry ../x", "\"..\""),
        Case("parent in the middle", member(RawHeader("a/../../x")), "entry a/../../x", "\"..\""),
        Case("parent that stays inside", member(RawHeader("a/../b")), "\"..\""),
        Case("parent in prefix", member(with(RawHeader("x")) { $0.prefix = ".." }), "\"..\""),
        Case("empty name", member(RawHeader("")), "empty name"),
        Case("root as a file", member(RawHeader(".")), "root must be a directory"),
        Case(
            "root as a symlink",
            member(RawHeader("/.", type: "2", link: "/etc")),
            "root must be a directory"
        ),
        Case(
            "NUL in a PAX path",
            pax(record("path", [0x61, 0, 0x62])) + member(RawHeader()),
            "path with NUL"
        ),
        Case("NUL in a GNU name", gnuLong([0x61, 0, 0x62]) + member(RawHeader()), "NUL"),
        Case(
            "name of 64 KiB",
            gnuLong([UInt8](repeating: 0x61, count: 65_536)) + member(RawHeader()),
            "65536 bytes"
        ),
        Case(
            "component of 256 bytes",
            gnuLong([UInt8](repeating: 0x61, count: 256)) + member(RawHeader()),
            "256 bytes"
        ),
        Case(
            "path 100,000 deep",
            gnuLong(Array(String(repeating: "a/", count: 100_000).utf8)) + member(RawHeader()),
            "200000"
        ),
    ]

    static let links: [Case] = [
        Case(
            "hard link to outside",
            member(RawHeader("l", type: "1", link: "../../etc/passwd")),
            "entry l",
            "hard link",
            "\"..\""
        ),
        Case("hard link to the root", member(RawHeader("l", type: "1", link: "/")), "hard link to the root"),
        Case(
            "hard link to itself",
            member(RawHeader("a/l", type: "1", link: "./a//l")),
            "hard link to itself"
        ),
        Case("hard link to nothing", member(RawHeader("l", type: "1")), "hard link"),
        Case("hard link to a whiteout", member(RawHeader("l", type: "1", link: "d/.wh.x")), "whiteout"),
        Case(
            "hard link into AUFS data",
            member(RawHeader("l", type: "1", link: ".wh..wh.plnk/12.34")),
            "whiteout"
        ),
        Case("symlink without target", member(RawHeader("l", type: "2")), "symlink without a target"),
        Case(
            "symlink of 4096 bytes",
            gnuLong([UInt8](repeating: 0x61, count: 4096), type: "K") + member(RawHeader("l", type: "2")),
            "entry l",
            "4096 bytes"
        ),
    ]

    static let whiteouts: [Case] = [
        Case("nothing", member(RawHeader("d/.wh.")), "whiteout of nothing"),
        Case("dot", member(RawHeader("d/.wh..")), "whiteout of nothing"),
        Case("dot dot", member(RawHeader("d/.wh...")), "whiteout of nothing"),
        Case("unknown mark", member(RawHeader(".wh..wh.aufs")), "unknown whiteout"),
        Case("directory", member(RawHeader("d/.wh.x/", type: "5")), "whiteout that is not a regular file"),
        Case(
            "symlink",
            member(RawHeader("d/.wh.x", type: "2", link: "y")),
            "whiteout that is not a regular file"
        ),
        Case("file below one", member(RawHeader(".wh.d/x")), "below a whiteout"),
        Case("file below opaque", member(RawHeader("d/.wh..wh..opq/x")), "below a whiteout"),
    ]

    static let fields: [Case] = [
        Case("checksum", with(RawHeader("victim")) { $0.sum = "017777" }.block, "checksum"),
        Case(
            "octal size",
            with(RawHeader("f")) { $0.size = Array("0000000x000".utf8) }.block,
            "entry f",
            "malformed size"
        ),
        Case(
            "negative size",
            with(RawHeader("f")) { $0.size = [UInt8](repeating: 0xFF, count: 12) }.block,
            "negative size"
        ),
        Case(
            "base 256 overflow",
            with(RawHeader("f")) { $0.size = [0x80] + [UInt8](repeating: 0xFF, count: 11) }.block,
            "size"
        ),
        Case(
            "huge size",
            with(RawHeader("f")) { $0.size = [0x80, 0, 0, 0, 0x7F] + [UInt8](repeating: 0xFF, count: 7) }
                .block,
            "bytes"
        ),
        Case("PAX negative size", pax(record("size", "-1")) + member(RawHeader()), "negative size"),
        Case(
            "PAX size overflow",
            pax(record("size", "99999999999999999999")) + member(RawHeader()),
            "malformed size"
        ),
        Case(
            "PAX size lie",
            pax(record("size", "100000")) + member(RawHeader(), [1, 2, 3]) + endMark,
            "truncated"
        ),
        Case("uid -1", pax(record("uid", "4294967295")) + member(RawHeader()), "uid 4294967295"),
        Case(
            "negative gid",
            with(RawHeader("f")) { $0.patches = [(116, [UInt8](repeating: 0xFF, count: 8))] }.block,
            "gid -1"
        ),
        Case("mode", with(RawHeader("f")) { $0.mode = "88" }.block, "malformed mode"),
        Case("mtime", pax(record("mtime", "1.x")) + member(RawHeader()), "malformed mtime"),
        Case("major", with(RawHeader("d", type: "3")) { $0.major = "0010000" }.block, "device number"),
        Case("minor", with(RawHeader("d", type: "4")) { $0.minor = "4000000" }.block, "device number"),
        Case(
            "negative device, not a whiteout",
            with(RawHeader("d", type: "3")) { $0.patches = [(329, [UInt8](repeating: 0xFF, count: 8))] }
                .block,
            "device number"
        ),
        Case("unknown type", member(RawHeader("f", type: "Z")), "entry f", "unknown type Z"),
        Case("socket type", member(RawHeader("f", type: "s")), "unknown type s"),
        Case("multi-volume", member(RawHeader("f", type: "M")), "another volume"),
        Case(
            "lone zero block",
            [UInt8](repeating: 0, count: 512) + member(RawHeader()),
            "single block of zeros"
        ),
        Case("truncated header", Array(member(RawHeader()).prefix(300)), "truncated"),
        Case(
            "truncated content",
            Array(member(RawHeader("f"), [UInt8](repeating: 1, count: 2000)).prefix(1500)),
            "truncated"
        ),
        Case("truncated padding", Array(member(RawHeader("f"), [1]).prefix(520)), "truncated"),
        Case(
            "extended header at the end",
            pax(record("path", "x")) + endMark,
            "ends after an extended header"
        ),
    ]

    static let extended: [Case] = [
        Case("record without key", pax(Array("6 =ab\n".utf8)) + member(RawHeader()), "without a key"),
        Case(
            "record without length",
            pax(Array("path=x\n".utf8)) + member(RawHeader()),
            "malformed extended header"
        ),
        Case(
            "record too long",
            pax(Array("99 path=x\n".utf8)) + member(RawHeader()),
            "malformed extended header"
        ),
        Case(
            "record of length 0",
            pax(Array("0 path=x\n".utf8)) + member(RawHeader()),
            "malformed extended header"
        ),
        Case(
            "record without newline",
            pax(Array("9 path=xy".utf8)) + member(RawHeader()),
            "malformed extended header"
        ),
        Case(
            "overflowing length",
            pax(Array("99999999999999999999 a=b\n".utf8)) + member(RawHeader()),
            "malformed"
        ),
        Case(
            "2 MiB",
            pax(record("comment", [UInt8](repeating: 0x61, count: 2 << 20))) + member(RawHeader()),
            "extended header of"
        ),
        Case("global path", pax(record("path", "x"), type: "g") + member(RawHeader()), "global"),
        Case(
            "global sparse",
            pax(record("GNU.sparse.major", "1"), type: "g") + member(RawHeader()),
            "global"
        ),
        Case(
            "attribute without name",
            pax(record("SCHILY.xattr.", "v")) + member(RawHeader()),
            "without a name"
        ),
        Case(
            "attribute name",
            pax(record("SCHILY.xattr." + String(repeating: "n", count: 256), "v")),
            "name of 256 bytes"
        ),
        Case(
            "attribute value",
            pax(record("SCHILY.xattr.user.x", [UInt8](repeating: 1, count: 65_537))),
            "65537 bytes"
        ),
        Case(
            "thousands of attributes",
            pax(Array((0..<2000).map { record("SCHILY.xattr.user.\($0)", "v") }.joined())),
            "1024"
        ),
        Case(
            "attribute bytes",
            pax(
                Array(
                    (0..<9).map { record("SCHILY.xattr.user.\($0)", [UInt8](repeating: 1, count: 60_000)) }
                        .joined()
                )
            ),
            "bytes of extended attributes"
        ),
    ]

    static let sparse: [Case] = [
        Case(
            "region outside",
            pax(record("GNU.sparse.size", "10"), record("GNU.sparse.map", "8,4"))
                + member(RawHeader(), [1, 2, 3, 4]),
            "outside the file"
        ),
        Case(
            "overlap",
            pax(record("GNU.sparse.size", "99"), record("GNU.sparse.map", "0,3,2,1"))
                + member(RawHeader(), [1, 2, 3, 4]),
            "outside the file"
        ),
        Case(
            "overflow",
            pax(record("GNU.sparse.size", "99"), record("GNU.sparse.map", "9223372036854775807,4"))
                + member(RawHeader(), [1]),
            "malformed sparse map"
        ),
        Case(
            "less data",
            pax(record("GNU.sparse.size", "99"), record("GNU.sparse.map", "0,9")) + member(RawHeader(), [1]),
            "sparse map of 9 bytes"
        ),
        Case(
            "odd map",
            pax(record("GNU.sparse.size", "99"), record("GNU.sparse.map", "0,9,1"))
                + member(RawHeader(), [1]),
            "wrong length"
        ),
        Case(
            "count",
            pax(
                record("GNU.sparse.size", "9"),
                record("GNU.sparse.numblocks", "7"),
                record("GNU.sparse.map", "0,1")
            )
                + member(RawHeader(), [1]),
            "wrong length"
        ),
        Case(
            "map bomb 0.1",
            pax(
                record("GNU.sparse.size", "9"),
                record("GNU.sparse.map", String(repeating: "0,0,", count: 70_000) + "0,0")
            )
                + member(RawHeader()),
            "sparse regions"
        ),
        Case("map bomb 1.0", modern("4000000000\n"), "sparse regions"),
        Case("map of 1.0 without end", modern("1\n5\n"), "malformed sparse map"),
        Case("cut map of 1.0", modern(String(repeating: "99\n", count: 170) + "9\n"), "truncated sparse map"),
        Case("letters in 1.0", modern("1\nx\n5\n"), "malformed sparse map"),
        Case("endless line in 1.0", modern(String(repeating: "1", count: 512)), "malformed sparse map"),
        Case(
            "exabytes",
            pax(record("GNU.sparse.size", "4611686018427387904")) + member(RawHeader()),
            "are allowed"
        ),
        Case(
            "unknown version",
            pax(record("GNU.sparse.major", "3"), record("GNU.sparse.minor", "1")) + member(RawHeader()),
            "unknown sparse format 3.1"
        ),
        Case(
            "old map without regions",
            oldSparse(continued: [UInt8](repeating: 0, count: 504) + [1]),
            "empty block"
        ),
        Case(
            "old map outside",
            oldSparse(size: 2, regions: [(0, 4)], data: [1, 2, 3, 4]),
            "outside the file"
        ),
    ]

    /// A file of sparse format 1.0 whose data starts with `map`.
    static func modern(_ map: String) -> [UInt8] {
        let size = record("GNU.sparse.realsize", "4096")
        let header = pax(
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", "s"),
            size
        )
        return header + member(RawHeader("GNUSparseFile.0/s"), padded(Array(map.utf8)))
    }

    /// A member of type `S`; with `continued`, a block of the map follows the header.
    static func oldSparse(
        size: Int = 0,
        regions: [(Int, Int)] = [],
        continued: [UInt8]? = nil,
        data: [UInt8] = []
    ) -> [UInt8] {
        var header = RawHeader("s", type: "S")
        header.magic = "ustar  \u{0}"
        header.size = octal(data.count)
        for (index, region) in regions.enumerated() {
            header.patches.append((386 + 24 * index, octal(region.0)))
            header.patches.append((398 + 24 * index, octal(region.1)))
        }
        header.patches.append((483, octal(size)))
        if continued != nil { header.patches.append((482, [1])) }
        return header.block + padded(continued ?? []) + padded(data)
    }

    @Test(arguments: [names, links, whiteouts, fields, extended, sparse].flatMap(\.self))
    func isRefused(_ test: Case) throws {
        let tar = test.testDescription.hasPrefix("truncated") ? test.tar : test.tar + endMark
        let line = try #require(refusal(tar))
        #expect(line.contains("layer test"), "\(line)")
        for words in test.words { #expect(line.contains(words), "\(line)") }
        #expect(!line.contains("\n") && line.utf8.count < 400)
        // Compressed, the refusal comes through all threads.
        #expect(refusal(try gzip(tar)) == line)
    }

    @Test func entryCount() throws {
        let tar = Array(repeating: member(RawHeader("f")), count: 12).flatMap(\.self) + endMark
        #expect(refusal(tar) { $0.limits.entries = 11 }?.contains("more than 11 entries") == true)
        #expect(refusal(tar) { $0.limits.entries = 12 } == nil)
    }

    /// A gzip or zstd bomb is refused soon after it passes what is free, before it is a tar.
    @Test func bombs() throws {
        let zeros = member(RawHeader("bomb"), [UInt8](repeating: 0, count: 8 << 20)) + endMark
        let bomb = try gzip(zeros)
        let line = refusal(bomb) { $0.limits.freeExpansion = 1 << 20 }
        #expect(line?.contains("layer test: it expands more than 200 times") == true, "\(line ?? "")")
        #expect(refusal(bomb) { $0.limits.tarSize = 4 << 20 }?.contains("bytes") == true)
        #expect(refusal(bomb) == nil)
    }
}
