// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

/// Tars as other programs write them.
@Suite struct TarProgramTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Runs a shell script in the directory.
    func run(_ script: String) throws {
        let words: [String] = ["sh", "-ec", "cd '\(directory.path.string)'\n" + script]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid = pid_t()
        let failure = posix_spawn(&pid, "/bin/sh", nil, nil, &arguments, environ)
        try #require(failure == 0)
        var status: CInt = 0
        waitpid(pid, &status, 0)
        try #require(status == 0, "\(script)")
    }

    func read(_ name: String) throws -> [UInt8] {
        try Files.contents(directory.appending(name), limit: 256 << 20)
    }

    /// A tree with what every format can hold.
    func makeTree() throws {
        try run(
            """
            mkdir -p t/sub/dir && cd t
            printf hello > sub/hello; : > sub/empty; head -c 70000 /dev/zero | tr '\\0' x > sub/big
            ln -s ../sub/hello sub/dir/link; ln sub/hello sub/again; mkfifo sub/pipe
            chmod 4751 sub/hello; chmod 1777 sub/dir
            touch -h -d '2001-02-03 04:05:06 UTC' sub/* sub/dir/* sub/dir sub .
            """
        )
    }

    func check(_ tar: String, exceptions: Set<String> = []) throws {
        let stream = try open(try read(tar))
        let items = try readAll(stream)
        _ = try stream.finish()
        var found: [String: Item] = [:]
        for item in items { found[item.entry.path.printable] = item }
        let paths = [
            "", "sub", "sub/hello", "sub/empty", "sub/big", "sub/dir", "sub/dir/link", "sub/again",
            "sub/pipe",
        ]
        #expect(Set(found.keys).union(exceptions) == Set(paths), "\(tar)")
        // Either name of the file may come first.
        let (file, link) =
            found["sub/hello"]?.content == nil ? ("sub/again", "sub/hello") : ("sub/hello", "sub/again")
        #expect(found[file]?.content == Array("hello".utf8))
        #expect(found[file]?.entry.mode == 0o4751)
        #expect(found[link]?.entry.kind == .hardLink(target: TreePath(cleaning: file)))
        #expect(found["sub/big"]?.content == [UInt8](repeating: UInt8(ascii: "x"), count: 70000))
        #expect(found["sub/empty"]?.content == [])
        #expect(found["sub/dir"]?.entry.kind == .directory)
        #expect(found["sub/dir"]?.entry.mode == 0o1777)
        #expect(found["sub/dir/link"]?.entry.kind == .symlink(target: Array("../sub/hello".utf8)))
        for path in paths where !exceptions.contains(path) {
            #expect(found[path]?.entry.mtime == Timestamp(seconds: 981_173_106), "\(tar) \(path)")
        }
    }

    @Test(.requires(.program("tar"))) func gnuTar() throws {
        try makeTree()
        for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
            // V7 has no fifos.
            let exclude = format == "v7" ? "--exclude=pipe" : ""
            try run("tar --format=\(format) \(exclude) -cf \(format).tar -C t .")
            try check("\(format).tar", exceptions: format == "v7" ? ["sub/pipe"] : [])
        }
    }

    @Test(.requires(.program("bsdtar"))) func bsdTar() throws {
        try makeTree()
        for format in ["pax", "ustar", "gnutar"] {
            try run("bsdtar --format \(format) -cf \(format).tar -C t .")
            try check("\(format).tar")
        }
    }

    @Test(.requires(.program("python3"))) func pythonTar() throws {
        try makeTree()
        for format in ["PAX", "GNU", "USTAR"] {
            let script =
                "import tarfile; t = tarfile.open('\(format).tar', 'w', format=tarfile.\(format)_FORMAT)"
            try run("python3 -c \"\(script); t.add('t', arcname='.'); t.close()\"")
            try check("\(format).tar")
        }
    }

    /// Names of 100 to 260 bytes, deep and flat, in every format that can hold them.
    @Test(.requires(.program("tar"), .program("bsdtar"))) func longNames() throws {
        try run(
            """
            mkdir t; cd t
            for n in 90 99 100 101 102 120 150 180 200 240; do
                name=$(head -c $n /dev/zero | tr '\\0' n); mkdir -p d$n/$name; echo $n > d$n/$name/$name; ln -s $name d$n/l
            done
            """
        )
        for (program, formats) in [
            ("tar --format=", ["gnu", "oldgnu", "posix"]), ("bsdtar --format=", ["pax", "gnutar"]),
        ] {
            for format in formats {
                try run("\(program)\(format) -cf x.tar -C t .")
                let items = try readAll(open(read("x.tar")))
                for count in [90, 99, 100, 101, 102, 120, 150, 180, 200, 240] {
                    let name = String(repeating: "n", count: count)
                    let file = items.first { $0.entry.path.printable == "d\(count)/\(name)/\(name)" }
                    #expect(file?.content == Array("\(count)\n".utf8), "\(format) \(count)")
                    let link = items.first { $0.entry.path.printable == "d\(count)/l" }
                    #expect(link?.entry.kind == .symlink(target: Array(name.utf8)), "\(format) \(count)")
                }
            }
        }
    }

    @Test(.requires(.program("tar"), .program("bsdtar"))) func extremes() throws {
        try run("mkdir t; echo x > t/f; touch -d '1960-01-02 03:04:05.25 UTC' t/f")
        for (command, fraction) in [
            ("tar --format=gnu", UInt32(0)), ("tar --format=posix", 250_000_000), ("bsdtar --format pax", 0),
        ] {
            let owners =
                command.hasPrefix("tar")
                ? "--owner=:2000000000 --group=:2097152" : "--uid 2000000000 --gid 2097152"
            try run("\(command) \(owners) -cf x.tar -C t f")
            let entry = try #require(try readAll(open(read("x.tar"))).first?.entry)
            // bsdtar writes -1.25 for 0.25 seconds after -1, so its fractions before 1970 tell nothing.
            if command.hasPrefix("tar") {
                #expect(entry.mtime == Timestamp(seconds: -315_521_755, nanoseconds: fraction), "\(command)")
            }
            #expect(entry.uid == 2_000_000_000 && entry.gid == 2_097_152, "\(command)")
        }
    }

    @Test(.requires(.program("tar"), .program("bsdtar"))) func extendedAttributes() throws {
        try run("mkdir t; echo x > t/f")
        let file = try Files.open(directory.appending("t/f"), O_RDONLY)
        let attributes = ["user.a", "user.b"].map {
            ExtendedAttribute(name: Array($0.utf8), value: [0, 10, 255, 61])
        }
        for attribute in attributes { try ExtendedAttributes.set(attribute, on: file.raw) }
        for command in ["tar --xattrs --format=posix", "bsdtar --xattrs --format pax"] {
            try run("\(command) -cf x.tar -C t f")
            #expect(try readAll(open(read("x.tar"))).first?.entry.xattrs == attributes, "\(command)")
        }
    }

    /// Files with many holes in all of GNU's sparse forms: the content is right, and holes stay holes.
    @Test(.requires(.program("tar"), .program("bsdtar"))) func sparseFiles() throws {
        try run(
            """
            mkdir t; cd t; truncate -s 8M sparse
            for i in $(seq 0 39); do echo part$i | dd of=sparse bs=4k seek=$((i * 41)) conv=notrunc status=none; done
            truncate -s 3M hole; echo plain > plain; dd if=/dev/zero of=tail bs=4k count=1 status=none; truncate -s 1M tail
            """
        )
        let commands = [
            "tar --format=oldgnu", "tar --format=gnu", "tar --sparse-version=0.0 --format=posix",
            "tar --sparse-version=0.1 --format=posix", "tar --sparse-version=1.0 --format=posix",
        ]
        for command in commands.map({ $0 + " -S" }) + ["bsdtar --format pax"] {
            try run("\(command) -cf x.tar -C t sparse hole plain tail")
            let tar = try read("x.tar")
            #expect(tar.count < 1 << 20, "\(command) did not write it sparse")
            for name in ["sparse", "hole", "plain", "tail"] {
                let item = try #require(try readAll(open(tar)).first { $0.entry.path.printable == name })
                #expect(item.content == (try read("t/\(name)")), "\(command) \(name)")
            }
            try checkHoles(tar, command)
        }
    }

    private func checkHoles(_ tar: [UInt8], _ command: String) throws {
        let stream = try open(tar)
        while let entry = try stream.next() {
            let name = entry.path.printable
            let copy = try Files.open(directory.appending("copy"), O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
            try stream.writeContent(to: copy.raw)
            #expect(try read("copy") == read("t/\(name)"), "\(command) \(name)")
            if name == "sparse" { #expect(try Files.status(of: copy.raw).blocks < 2000, "\(command)") }
        }
        _ = try stream.finish()
    }

    @Test(.requires(.program("zstd"), .program("xz"), .program("bzip2"), .program("gzip")))
    func compressions() throws {
        let tar = try writeTar(LayerStreamTests.everyKind)
        let file = try Files.open(directory.appending("x.tar"), O_WRONLY | O_CREAT, mode: 0o600)
        try Files.writeAll(tar, to: file.raw)
        let half = tar.count / 2
        try run("head -c \(half) x.tar > a; tail -c +\(half + 1) x.tar > b")
        for (command, compression) in [
            ("gzip", Compression.gzip), ("zstd -19 --long=27", .zstd), ("zstd --fast --no-check", .zstd),
            ("xz", .xz),
            ("bzip2", .bzip2),
        ] {
            // One member, then several; and read in pieces that end anywhere.
            try run(
                "\(command) -c < x.tar > one; (\(command) -c < a; \(command) -c < b; \(command) -c < /dev/null) > many"
            )
            for (name, step) in [("one", Int.max), ("one", 13), ("many", Int.max), ("many", 1)] {
                let blob = try read(name)
                let stream = try open(blob, step: step)
                #expect(stream.compression == compression)
                #expect(try readAll(stream) == LayerStreamTests.everyKind)
                let digests = try stream.finish()
                #expect(digests.diffID == Digest.sha256(of: tar))
                #expect(digests.blobDigest == Digest.sha256(of: blob))
            }
            try checkEnd(try read("many"), compression)
            if !command.hasSuffix("--no-check") { try checkDamage(try read("many"), compression) }
        }
    }

    private func checkEnd(_ blob: [UInt8], _ compression: Compression) throws {
        #expect(refusal(blob.dropLast(3))?.contains("layer test") == true)
        let garbage = blob + Array("garbage that is as long as any header".utf8)
        #expect(refusal(garbage)?.contains("after the end") == true, "\(compression)")
        if compression != .zstd { #expect(refusal(blob + [0, 0, 0, 0]) == nil, "\(compression)") }
    }

    private func checkDamage(_ blob: [UInt8], _ compression: Compression) throws {
        // Anywhere but in the first and last bytes, whose damage may be no damage (a time, an unused flag).
        for place in [blob.count / 3, blob.count / 2] {
            #expect(refusal(with(blob) { $0[place] ^= 0x55 }) != nil, "\(compression)")
        }
    }

    @Test(.requires(.program("zstd"))) func hugeWindows() throws {
        try run("head -c 300000000 /dev/zero | zstd -1 --long=30 > huge.zst")
        let line = try #require(refusal(read("huge.zst")))
        #expect(line.contains("layer test") && line.contains("memory"), "\(line)")
    }

    /// What we write, the others read: names, types and contents as listed and unpacked by them.
    @Test(.requires(.program("tar"), .program("bsdtar"), .program("python3"))) func othersReadOurs() throws {
        try makeTree()
        let long = TreePath(cleaning: (0..<40).map { "component\($0)" }.joined(separator: "/"))
        let items = [
            Item(LayerEntry(path: .root, kind: .directory, mode: 0o755)),
            Item(
                LayerEntry(
                    path: "f",
                    kind: .regular(size: 5),
                    mode: 0o640,
                    mtime: Timestamp(seconds: 9, nanoseconds: 5)
                ),
                Array("hello".utf8)
            ),
            Item(
                LayerEntry(path: long, kind: .regular(size: 3), mode: 0o600, mtime: Timestamp(seconds: -7)),
                Array("abc".utf8)
            ),
            Item(LayerEntry(path: "s", kind: .symlink(target: long.bytes), mode: 0o777)),
        ]
        let file = try Files.open(directory.appending("ours.tar"), O_WRONLY | O_CREAT, mode: 0o600)
        try Files.writeAll(try writeTar(items), to: file.raw)
        for program in ["tar -xf ours.tar", "bsdtar -xf ours.tar", "python3 -m tarfile -e ours.tar"] {
            try run("rm -rf out; mkdir out; cd out; cp ../ours.tar .; \(program)")
            #expect(try read("out/f") == Array("hello".utf8), "\(program)")
            #expect(try read("out/\(long.printable)") == Array("abc".utf8), "\(program)")
            #expect((try? Files.readLink(directory.appending("out/s"))) == long.bytes, "\(program)")
            let status = try #require(try Files.status(directory.appending("out/\(long.printable)")))
            #expect(status.mtime.seconds == -7, "\(program)")
        }
    }
}
