// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing

@Suite struct LayerStreamTests {
    /// One entry of each kind, and what headers alone cannot hold.
    static let everyKind: [Item] = {
        let long = Array(repeating: "d".utf8.first ?? 0, count: 200)
        let time = Timestamp(seconds: -2, nanoseconds: 500_000_000)
        return [
            Item(LayerEntry(path: .root, kind: .directory, mode: 0o755)),
            Item(
                LayerEntry(
                    path: "etc",
                    kind: .directory,
                    mode: 0o1777,
                    uid: 3_000_000,
                    gid: 4_294_967_294,
                    mtime: time
                )
            ),
            file("etc/hello", Array("hello\n".utf8), mode: 0o4755),
            file("etc/empty", []),
            Item(LayerEntry(path: "link", kind: .symlink(target: Array("/etc/hello".utf8)), mode: 0o777)),
            Item(LayerEntry(path: "hard", kind: .hardLink(target: "etc/hello"))),
            Item(
                LayerEntry(
                    path: "null",
                    kind: .characterDevice(DeviceNumber(major: 1, minor: 3)),
                    mode: 0o666
                )
            ),
            Item(
                LayerEntry(
                    path: "disk",
                    kind: .blockDevice(DeviceNumber(major: 4095, minor: 1_048_575)),
                    mode: 0o600
                )
            ),
            Item(LayerEntry(path: "pipe", kind: .fifo, mode: 0o600, mtime: Timestamp(seconds: 1 << 34))),
            Item(LayerEntry(path: "etc/gone", kind: .whiteout)),
            Item(LayerEntry(path: "etc", kind: .opaque)),
            Item(
                LayerEntry(
                    path: TreePath(bytes: long + [0x2F] + long + [0x2F, 0xFF, 0x80]),
                    kind: .regular(size: 1000),
                    mode: 0o600,
                    mtime: Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789),
                    xattrs: [
                        ExtendedAttribute(
                            name: Array("security.capability".utf8),
                            value: [1, 0, 0, 2, 0, 10, 255]
                        ),
                        ExtendedAttribute(name: Array("trusted.overlay.opaque".utf8), value: Array("y".utf8)),
                        ExtendedAttribute(name: Array("user.empty".utf8), value: []),
                    ]
                ),
                (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
            ),
            Item(LayerEntry(path: "far", kind: .symlink(target: long), mode: 0o777)),
        ]
    }()

    @Test func roundTrip() throws {
        let tar = try writeTar(Self.everyKind)
        let stream = try open(tar)
        #expect(try readAll(stream) == Self.everyKind)
        let digests = try stream.finish()
        #expect(digests.diffID == Digest.sha256(of: tar))
        #expect(digests.blobDigest == digests.diffID)
        #expect(digests.tarSize == Int64(tar.count))
    }

    @Test(arguments: [1, 7, 512, 1 << 20]) func roundTripCompressed(step: Int) throws {
        let tar = try writeTar(Self.everyKind)
        let blob = try gzip(tar)
        let stream = try open(blob, step: step)
        #expect(stream.compression == .gzip)
        #expect(try readAll(stream) == Self.everyKind)
        let digests = try stream.finish()
        #expect(digests.diffID == Digest.sha256(of: tar))
        #expect(digests.blobDigest == Digest.sha256(of: blob))
        #expect(digests.blobSize == Int64(blob.count))
    }

    // MARK: Digests and the stored blob

    static func large() -> [UInt8] {
        var generator = TarFuzzTests.Generator(state: 1)
        let noise = (0..<(1 << 17)).map { _ in generator.next() }.withUnsafeBytes { Array($0) }
        return noise + noise + noise + noise + noise + noise + noise + noise
    }

    /// Larger than all rings together, so that everything waits for everything.
    @Test(arguments: [true, false]) func largeFilesAndTheBlob(compressed: Bool) throws {
        let directory = try TemporaryDirectory()
        let content = Self.large()
        let tar = try writeTar([file("before", [1]), file("large", content), file("after", [2])])
        let blob = compressed ? try gzip(tar) : tar
        let sink = SharedFD(try Files.open("blob", below: directory.fd, O_WRONLY | O_CREAT, mode: 0o600))
        let stream = try open(blob, step: 100_003) { $0.blobSink = sink }
        let copy = try Files.open("copy", below: directory.fd, O_WRONLY | O_CREAT, mode: 0o600)
        var names: [String] = []
        while let entry = try stream.next() {
            names.append(entry.path.printable)
            if entry.path == "large" { try stream.writeContent(to: copy.raw) }
        }
        let digests = try stream.finish()
        #expect(names == ["before", "large", "after"])
        #expect(stream.blobBytes.value == Int64(blob.count))
        #expect(digests.diffID == Digest.sha256(of: tar))
        #expect(try Files.contents("copy", below: directory.fd) == content)
        #expect(try Files.contents("blob", below: directory.fd) == blob)
        withExtendedLifetime(directory) {}
    }

    /// What follows the end mark counts for the digests; so does what was not taken.
    @Test func trailingBytesCount() throws {
        let tar = try writeTar([file("f", [1])]) + [UInt8](repeating: 0, count: 10240) + Array("more".utf8)
        for blob in [tar, try gzip(tar)] {
            let stream = try open(blob)
            #expect(try readAll(stream).count == 1)
            #expect(try stream.finish().diffID == Digest.sha256(of: tar))
            #expect(try open(blob).finish().diffID == Digest.sha256(of: tar))
        }
    }

    @Test func wrongDigests() throws {
        let tar = try writeTar(Self.everyKind)
        let blob = try gzip(tar)
        let right = (Digest.sha256(of: blob), Digest.sha256(of: tar))
        #expect(refusal(blob) { ($0.expectedBlobDigest, $0.expectedDiffID) = right } == nil)
        let wrongBlob = refusal(blob) { $0.expectedBlobDigest = right.1 }
        #expect(wrongBlob?.contains("its digest is \(right.0), not \(right.1)") == true)
        let wrongTar = refusal(blob) { $0.expectedDiffID = right.0 }
        #expect(wrongTar?.contains("its DiffID is \(right.1), not \(right.0)") == true)
        #expect(refusal(blob) { $0.allowed = [.zstd] }?.contains("gzip compression is not supported") == true)
    }

    // MARK: Ends that are not the end

    /// Never ends and never changes.
    final class EndlessSource: ByteSource, @unchecked Sendable {
        private var head: [UInt8]
        init(_ head: [UInt8]) { self.head = head }

        func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
            let count = head.isEmpty ? buffer.count : min(head.count, buffer.count)
            if head.isEmpty { buffer.initializeMemory(as: UInt8.self, repeating: 0) }
            buffer.copyBytes(from: head.prefix(count))
            head = Array(head.dropFirst(count))
            return count
        }
    }

    static func endless() throws -> LayerStream {
        let header = with(RawHeader("endless")) { $0.size = Array("77777777777".utf8) }.block
        return try LayerStream(
            source: EndlessSource(header),
            options: LayerStreamOptions(label: "layer test")
        )
    }

    @Test(.timeLimit(.minutes(10))) func cancelling() throws {
        let blob = try gzip(try writeTar([file("large", Self.large())]))
        for _ in 0..<50 {
            let stream = try Self.endless()
            _ = try stream.next()
            stream.cancel()
            stream.cancel()
            #expect { try stream.finish() } throws: { ($0 as? StorageError)?.code == .interrupted }
            _ = try Self.endless()  // neither finished nor cancelled
            _ = try open(blob).next()
        }
    }

    /// A stream whose other threads hang on a consumer that stopped with an error of its own.
    @Test(.timeLimit(.minutes(10))) func consumerFails() throws {
        struct Stop: Error {}
        let stream = try Self.endless()
        _ = try stream.next()
        var count = 0
        #expect(throws: Stop.self) {
            try stream.readContent { _ in
                count += 1
                if count == 30 { throw Stop() }
            }
        }
    }

    final class FailingSource: ByteSource, @unchecked Sendable {
        struct Failure: Error {}
        private let inner: MemorySource
        private var left: Int
        init(_ bytes: [UInt8], after left: Int) {
            inner = MemorySource(bytes, step: 1000)
            self.left = left
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            left -= 1
            if left < 0 { throw Failure() }
            return inner.read(into: buffer)
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [true, false]) func sourceFails(compressed: Bool) throws {
        let tar = try writeTar([file("large", Self.large())])
        let blob = compressed ? try gzip(tar) : tar
        for count in [1, 2, 50, 1500] {
            let source = FailingSource(blob, after: count)
            let stream = try LayerStream(source: source, options: LayerStreamOptions(label: "layer test"))
            #expect(throws: FailingSource.Failure.self) {
                _ = try readAll(stream)
                _ = try stream.finish()
            }
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [true, false]) func blobCannotBeStored(compressed: Bool) throws
    {
        let full = SharedFD(try Files.open("/dev/full", O_WRONLY))
        let tar = try writeTar([file("large", Self.large())])
        let line = refusal(compressed ? try gzip(tar) : tar) { $0.blobSink = full }
        #expect(line?.contains("store the blob of layer test") == true, "\(line ?? "")")
    }

    // MARK: Reading by position

    @Test func index() throws {
        let directory = try TemporaryDirectory()
        let tar = try writeTar(Self.everyKind)
        let file = SharedFD(try Files.open("x", below: directory.fd, O_RDWR | O_CREAT, mode: 0o600))
        try Files.writeAll([9, 9, 9] + tar, to: file.raw)
        let members = try TarIndex(file, offset: 3, label: "archive test").members
        #expect(members.count == Self.everyKind.count)
        let hello = try #require(members.first { $0.path == "etc/hello" })
        #expect(hello.kind == .regular && hello.size == 6)
        let region = FileRegion(file, offset: hello.offset, length: hello.size)
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = try buffer.withUnsafeMutableBytes { try region.read(into: $0) }
        #expect(buffer[..<count].elementsEqual("hello\n".utf8))
        #expect(members.first { $0.path == "hard" }?.kind == .hardLink(target: "etc/hello"))
        try system("ftruncate") { ftruncate(file.raw, 2000) }
        #expect(throws: StorageError.self) { try TarIndex(file, offset: 3, label: "archive test") }
        withExtendedLifetime(directory) {}
    }
}
