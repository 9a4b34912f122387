// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing

@Suite struct TarWriterTests {
    /// The bytes are a promise: a digest that changed here would orphan every layer that was ever committed.
    @Test func bytesAreFixed() throws {
        let tar = try writeTar(LayerStreamTests.everyKind)
        #expect(
            Digest.sha256(of: tar).hex == "e636963b70acb1f466e82e8e73b214f35ac2a3e10beaff9dc15cd7a06aaa9a06"
        )
        #expect(
            Digest.sha256(of: try writeTar([])).hex
                == "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
        )
    }

    /// PAX headers come only where the plain header does not suffice.
    @Test func plainEntriesHaveOneBlock() throws {
        #expect(try writeTar([file("a", [])]).count == 512 + 1024)
        #expect(try writeTar([file("a", [1])]).count == 1024 + 1024)
        let name = Array(String(repeating: "d/", count: 60).utf8)
        for (path, blocks) in [(name + [0x66], 1), (name + [UInt8](repeating: 0x66, count: 120), 3)] {
            let tar = try writeTar([Item(LayerEntry(path: TreePath(bytes: path), kind: .fifo))])
            #expect(tar.count == 512 * blocks + 1024)
            #expect(try readAll(open(tar)).first?.entry.path.bytes == path)
        }
    }

    /// Every length of a path up to where all forms were used comes back.
    @Test func everyLength() throws {
        let items = (1...600).map { count in
            let bytes = (0..<count).map {
                $0 % 97 == 96 && $0 != count - 1 ? UInt8(ascii: "/") : UInt8(ascii: "x")
            }
            let path = TreePath(bytes: bytes)
            return Item(LayerEntry(path: path, kind: count % 2 == 0 ? .directory : .symlink(target: bytes)))
        }
        #expect(try readAll(open(writeTar(items))) == items)
    }

    @Test func timesAndNumbers() throws {
        let times: [(Int64, UInt32)] = [
            (0, 0), (0, 1), (-1, 0), (-1, 999_999_999), (-1, 1), (1 << 33, 0), ((1 << 33) - 1, 500),
            (-(1 << 40), 7), (5, 120_000_000),
        ]
        let items = times.map { seconds, nanoseconds in
            Item(
                LayerEntry(
                    path: "f",
                    kind: .fifo,
                    mtime: Timestamp(seconds: seconds, nanoseconds: nanoseconds)
                )
            )
        }
        #expect(try readAll(open(writeTar(items))) == items)
    }

    @Test func refusals() throws {
        let writer = TarWriter(ByteCollector())
        #expect(throws: StorageError.self) { try writer.append(LayerEntry(path: "s", kind: .socket)) }
        #expect(throws: StorageError.self) { try writer.append(LayerEntry(path: "d/.wh.x", kind: .fifo)) }
        #expect(throws: StorageError.self) { try writer.append(LayerEntry(path: .root, kind: .whiteout)) }
        let short = LayerEntry(path: "f", kind: .regular(size: 3))
        #expect(throws: StorageError.self) {
            try writer.append(short) { emit in try [1, 2].withUnsafeBytes { try emit($0) } }
        }
        #expect(throws: StorageError.self) {
            try writer.append(short) { emit in
                try [UInt8](repeating: 0, count: 4).withUnsafeBytes { try emit($0) }
            }
        }
    }

    /// The tee writes the same tar whether content is asked for or not, and leaves sockets out.
    @Test(arguments: [true, false]) func tee(reads: Bool) throws {
        let tar = try writeTar(LayerStreamTests.everyKind)
        let sink = HashingSink()
        let tee = TarTee(try open(tar), sink: sink)
        if reads {
            #expect(try readAll(tee) == LayerStreamTests.everyKind)
        } else {
            while try tee.next() != nil {}
        }
        try tee.finish()
        #expect(sink.finish() == Digest.sha256(of: tar))
        #expect(sink.count == Int64(tar.count))
    }

    @Test func teeWritesFiles() throws {
        let directory = try TemporaryDirectory()
        let content =
            [UInt8](repeating: 0, count: 300_000) + [1, 2, 3] + [UInt8](repeating: 0, count: 200_000)
        let tar = try writeTar([file("f", content)])
        let sink = HashingSink()
        let tee = TarTee(try open(tar), sink: sink)
        _ = try tee.next()
        let copy = try Files.open("copy", below: directory.fd, O_RDWR | O_CREAT, mode: 0o600)
        try tee.writeContent(to: copy.raw)
        try tee.finish()
        #expect(sink.finish() == Digest.sha256(of: tar))
        #expect(try Files.contents("copy", below: directory.fd) == content)
        withExtendedLifetime(directory) {}
    }
}
