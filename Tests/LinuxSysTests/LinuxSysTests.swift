// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

@Suite struct WritingTests {
    private let content = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 / 4096 &* 7 &+ $0) }

    private func write(_ bytes: ArraySlice<UInt8>, to file: SharedFD) throws {
        var writer = UncachedWriter(file.raw)
        try bytes.withUnsafeBytes { try writer.writeAll($0) }
    }

    private func check(_ file: SharedFD) throws {
        try Files.writeAll([1, 2, 3], to: file.raw)
        try write(content[..<(1 << 20)], to: file)
        try write(content[(1 << 20)...], to: file)
        try Files.writeAll([4], to: file.raw)
        #expect(fsync(file.raw) == 0)
        #expect(lseek(file.raw, 0, SEEK_SET) == 0)
        #expect(try Files.contents(of: file.raw, limit: 4 << 20) == [1, 2, 3] + content + [4])
    }

    /// On a disk, which may give up the pages, and in memory, which cannot.
    @Test func uncachedIsWhatWasWritten() throws {
        let directory = try TemporaryDirectory()
        let flags = O_RDWR | O_CREAT | O_EXCL
        try check(SharedFD(try Files.open("file", below: directory.fd, flags, mode: 0o600)))
        try check(
            SharedFD(OwnedFD(adopting: try system("memfd_create") { clinux_memfd_create("test", 0) }))
        )
    }

    @Test func uncachedFailsAsAnyOther() throws {
        let file = SharedFD(try Files.open("/dev/null", O_RDONLY))
        #expect(throws: SystemError.self) { try write([0], to: file) }
    }
}
