// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// The support code of all other tests.
@Suite struct TestGatesTests {
    @Test func needsAreMetOrSayWhy() {
        #expect(Need.program("sh").unmet == nil)
        #expect(Need.program("no such program").unmet == "no program no such program in PATH")
        #expect(Need.filesystem("nosuchfs").unmet == "the kernel has no file system nosuchfs")
        #expect(Need.filesystem("proc").unmet == nil)
        #expect(Need.path("/proc/self").unmet == nil)
        #expect((Need.root.unmet == nil) == (geteuid() == 0))
        #expect((Need.root.unmet == nil) != (Need.ordinaryUser.unmet == nil))
    }

    @Test func temporaryDirectoryGoesWithAllInIt() throws {
        var directory: TemporaryDirectory? = try TemporaryDirectory()
        let path = try #require(directory?.path)
        let fd = try #require(directory?.fd)
        let name = TreePath(bytes: [0xFF, 0x0A, 0x22])
        try Files.makeDirectory(name, below: fd)
        let inner = try Files.openDirectory(name, below: fd)
        _ = try Files.open("file", below: inner.raw, O_WRONLY | O_CREAT)
        #expect(try Files.status(path) != nil)
        directory = nil
        #expect(try Files.status(path) == nil)
    }
}
