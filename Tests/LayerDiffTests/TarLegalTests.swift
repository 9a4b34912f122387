// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import Testing

/// Unusual tars that mean something.
@Suite struct TarLegalTests {
    func entries(_ tar: [UInt8]) throws -> [Item] { try readAll(try open(tar)) }

    @Test func namesAreCleaned() throws {
        let cases: [(String, TreePath)] = [
            ("/etc/x", "etc/x"), ("./a//b/./c", "a/b/c"), ("a/.b/..c", "a/.b/..c"), ("///x", "x"),
            (".hidden", ".hidden"),
        ]
        for (name, path) in cases {
            #expect(try entries(member(RawHeader(name))).first?.entry.path == path, "\(name)")
        }
        for root in [".", "./", "/", "/./"] {
            let entry = try #require(try entries(member(RawHeader(root, type: "5"))).first?.entry)
            #expect(entry.path.isRoot && entry.kind == .directory)
        }
        let bytes: [UInt8] = [0xFF, 0xC0, 0x2F, 0x0A]
        #expect(
            try entries(pax(record("path", bytes)) + member(RawHeader())).first?.entry.path.bytes == bytes
        )
    }

    @Test func slashMakesADirectory() throws {
        for type: Character in ["0", "\u{0}"] {
            #expect(try entries(member(RawHeader("d/", type: type))).first?.entry.kind == .directory)
        }
    }

    @Test func whiteouts() throws {
        let cases: [([UInt8], TreePath, LayerEntry.Kind)] = [
            (member(RawHeader("d/.wh.x")), "d/x", .whiteout),
            (member(RawHeader(".wh.x"), [1, 2, 3]), "x", .whiteout),
            (member(RawHeader("d/.wh.x", type: "1", link: ".wh..wh.aufs")), "d/x", .whiteout),
            (member(RawHeader("d/.wh..wh..opq")), "d", .opaque),
            (member(RawHeader(".wh..wh..opq")), .root, .opaque),
            (member(RawHeader("d/x", type: "3")), "d/x", .whiteout),
        ]
        for (tar, path, kind) in cases {
            let entry = try #require(try entries(tar + endMark).first?.entry)
            #expect(entry.path == path && entry.kind == kind)
        }
        // The mark is no part of a file's name.
        let long = String(repeating: "n", count: 255)
        let hidden = try #require(
            try entries(pax(record("path", "d/.wh.\(long)")) + member(RawHeader("x")) + endMark).first?.entry
        )
        #expect(hidden.path == TreePath(bytes: Array("d/\(long)".utf8)) && hidden.kind == .whiteout)
        #expect(
            try entries(member(RawHeader("x", type: "4"))).first?.entry.kind
                == .blockDevice(DeviceNumber(major: 0, minor: 0))
        )
    }

    @Test func globalHeadersHoldUntilReplaced() throws {
        let tar =
            pax(record("mtime", "7"), record("uid", "8"), type: "g") + member(RawHeader("a"))
            + pax(record("mtime", "9")) + member(RawHeader("b"))
            + pax(record("mtime", "")) + member(RawHeader("c")) + member(RawHeader("d")) + endMark
        let items = try entries(tar)
        #expect(items.map(\.entry.mtime.seconds) == [7, 9, 0, 7])
        #expect(items.map(\.entry.uid) == [8, 8, 8, 8])
    }

    @Test func attributes() throws {
        let tar =
            pax(
                record("SCHILY.xattr.user.b", "2"),
                record("SCHILY.xattr.security.selinux", "label"),
                record("SCHILY.xattr.user.a", [0, 0x0A, 0x3D]),
                record("SCHILY.xattr.user.b", "3"),
                record("SCHILY.xattr.trusted.overlay.redirect", "/x")
            ) + member(RawHeader("f"))
        let attributes = try #require(try entries(tar).first?.entry.xattrs)
        #expect(
            attributes.map { TreePath(bytes: $0.name).printable } == [
                "trusted.overlay.redirect", "user.a", "user.b",
            ]
        )
        #expect(attributes.map(\.value) == [Array("/x".utf8), [0, 0x0A, 0x3D], [0x33]])
    }

    /// PAX goes before GNU's long names, these before the header.
    @Test func precedence() throws {
        let tar =
            gnuLong(Array("gnu".utf8)) + pax(record("path", "pax")) + member(RawHeader("header"))
            + member(RawHeader("own"))
        #expect(try entries(tar).map(\.entry.path) == ["pax", "own"])
    }

    @Test func sizesOfLinksAndDirectoriesMeanNothing() throws {
        let links = ["1", "2", "5"].map { (type: Character) in
            with(RawHeader("l", type: type, link: "t")) { $0.size = octal(5000) }.block
        }
        #expect(
            try entries(links.flatMap(\.self) + member(RawHeader("f"), [1]) + endMark).last?.content == [1]
        )
    }

    /// Every digit at another place, and all that writers put around them.
    @Test(
        arguments: [
            ("1234567", "12345670123"), ("7654321\0", "76543210765\0"), ("1234567 ", "12345670123 "),
            (" 234567 ", " 2345670123 "), ("  34567\0", "  345670123\0"), ("234567 \0", "2345670123 \0"),
            ("12345670", "123456701234"), ("17\0\0", "7"), ("        ", ""), ("\017 ", "\0\017 "),
        ]
    )
    func numbersInOctal(short: String, long: String) throws {
        let header = with(RawHeader("f")) {
            $0.uid = short
            $0.mtime = Array(long.utf8)
        }
        let entry = try #require(try entries(member(header)).first?.entry)
        func value(_ text: String) -> Int64 {
            Int64(text.filter { ("0"..."7").contains($0) }, radix: 8) ?? 0
        }
        #expect(Int64(entry.uid) == value(short) && entry.mtime.seconds == value(long))
    }

    @Test(arguments: ["12345678", "1234 567", "123456a\0", "12345/7\0", "1\034567\0"])
    func noNumbers(_ text: String) {
        #expect(throws: StorageError.self) { try entries(member(with(RawHeader("f")) { $0.uid = text })) }
    }

    /// The largest sum there is, and that of writers who took bytes as signed.
    @Test func sumsOfHighBytes() throws {
        var header = RawHeader()
        let high = [UInt8](repeating: 0xFF, count: 255)
        header.patches = [(0, Array(high[..<100])), (345, Array(high[..<155]))]
        let digits = String(decoding: header.block[148..<154], as: UTF8.self)
        let right = try #require(Int(digits, radix: 8))
        for (sum, isRight) in [
            (right, true), (right - 256 * high.count, true), (right - 1, false), (right - 256, false),
        ] {
            header.sum = String(sum, radix: 8)
            let found = try? entries(header.block)
            #expect(found?.first?.entry.path.bytes.count == (isRight ? 256 : nil))
        }
    }

    @Test func numbersInBase256() throws {
        let header = with(RawHeader("f")) {
            $0.mtime = [UInt8](repeating: 0xFF, count: 11) + [0xFE]
            $0.patches = [(108, [0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFE])]
        }
        let entry = try #require(try entries(member(header)).first?.entry)
        #expect(entry.mtime.seconds == -2 && entry.uid == 4_294_967_294)
    }

    @Test func endings() throws {
        #expect(try entries([]).isEmpty)
        #expect(try entries(endMark).isEmpty)
        #expect(try entries([UInt8](repeating: 0, count: 512)).isEmpty)
        #expect(try entries(member(RawHeader("f"))).count == 1)  // no end mark
        #expect(try entries(try gzip([])).isEmpty)
    }

    @Test func oldSparseFiles() throws {
        let tar =
            TarHostileTests.oldSparse(size: 9, regions: [(0, 1), (4, 3)], data: [1, 2, 3, 4]) + endMark
        #expect(try entries(tar).first?.content == [1, 0, 0, 0, 2, 3, 4, 0, 0])
    }
}
