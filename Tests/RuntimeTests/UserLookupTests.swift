// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

struct UserLookupTests {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try Files.makeDirectory(directory.appending("etc"))
        try write(
            "etc/passwd",
            """
            # a comment
            root:x:0:0:root:/root:/bin/sh
            web:x:33:34:web:/var/www:/bin/sh
            short:x:5
            bad:x:-1:7::/:
            """
        )
        try write("etc/group", "root:x:0:\nwww:x:34:\nextra:x:50:web,root\nmore:x:51:other,web\n")
    }

    private func write(_ name: String, _ text: String) throws {
        try Files.replace(directory.appending(name), with: Array(text.utf8), mode: 0o644)
    }

    private func resolve(_ text: String, _ additional: [String] = []) throws -> ResolvedUser {
        try UserLookup.resolve(text, additional: additional, root: directory.fd)
    }

    @Test func namesAndNumbers() throws {
        let web = ResolvedUser(uid: 33, gid: 34, additionalGids: [50, 51], home: "/var/www")
        #expect(try resolve("web") == web)
        #expect(try resolve("33") == web)
        #expect(try resolve("") == ResolvedUser(uid: 0, gid: 0, additionalGids: [50], home: "/root"))
        #expect(try resolve("1234") == ResolvedUser(uid: 1234, gid: 0, additionalGids: [], home: "/"))
        #expect(try resolve("web:www").additionalGids.isEmpty)
        #expect(
            try resolve("web:more") == ResolvedUser(uid: 33, gid: 51, additionalGids: [], home: "/var/www")
        )
        #expect(try resolve("1:2") == ResolvedUser(uid: 1, gid: 2, additionalGids: [], home: "/"))
        #expect(try resolve("1", ["extra", "77"]).additionalGids == [50, 77])
    }

    @Test(arguments: ["nobody", "short", "web:none", "2147483648", "4294967296", "-1", "bad"])
    func refused(_ text: String) throws {
        #expect(throws: RuntimeError.self) { try resolve(text) }
    }

    @Test func hostileFilesAreNotFollowedOrReadForever() throws {
        try Files.unlink(directory.appending("etc/passwd"))
        try system("symlink") { symlink("/../../../../etc/passwd", directory.appending("etc/passwd").string) }
        // The link resolves inside the root, to itself.
        #expect(throws: RuntimeError.self) { try resolve("daemon") }
        try Files.unlink(directory.appending("etc/passwd"))
        try system("mkfifo") { mkfifo(directory.appending("etc/passwd").string, 0o644) }
        #expect(throws: RuntimeError.self) { try resolve("root") }
        try Files.unlink(directory.appending("etc/passwd"))
        let huge = try Files.open(directory.appending("etc/passwd"), O_WRONLY | O_CREAT, mode: 0o644)
        try system("ftruncate") { ftruncate(huge.raw, 1 << 40) }
        #expect(throws: RuntimeError.self) { try resolve("root") }
    }

    @Test func withoutFilesNumbersWork() throws {
        try Files.removeTree(directory.appending("etc"))
        #expect(try resolve("7:8") == ResolvedUser(uid: 7, gid: 8, additionalGids: [], home: "/"))
        #expect(throws: RuntimeError.self) { try resolve("web") }
    }
}
