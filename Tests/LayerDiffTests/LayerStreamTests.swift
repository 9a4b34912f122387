// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
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
}
