// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

@Suite(.requires(.root, .loopDevices, .filesystem("ext4"), .program("mkfs.ext4")))
struct LoopDeviceTests {
    @Test(
        "A device keeps what it writes in its file's page cache too, or does not",
        arguments: [false, true]
    )
    func direct(_ isDirect: Bool) throws {
        let disk = try LoopFileSystem("ext4", size: 64 << 20)
        let path = disk.path.appending("file")
        let file = try Files.open(path, O_RDWR | O_CREAT, mode: 0o600)
        try system("ftruncate") { ftruncate(file.raw, 8 << 20) }
        let before = try Files.status(of: file.raw).blocks
        let loop = try LoopDevice.attach(path, direct: isDirect)
        try write(4 << 20, to: loop.path)
        #expect(try Files.status(of: file.raw).blocks - before >= (4 << 20) / 512)
        let cached = try residentPages(of: file.raw, size: 8 << 20)
        #expect(isDirect ? cached == 0 : cached >= (4 << 20) / 4096, "\(cached)")
    }

    @Test("A file has one device, whoever attaches it")
    func once() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("file")
        let file = try Files.open(path, O_RDWR | O_CREAT, mode: 0o600)
        try system("ftruncate") { ftruncate(file.raw, 8 << 20) }
        let first = try LoopDevice.attach(path)
        #expect(try LoopDevice.attach(path).number == first.number)
    }

    private func write(_ size: Int, to device: FilePath) throws {
        let fd = try Files.open(device, O_WRONLY)
        try Files.writeAll([UInt8](repeating: 1, count: size), to: fd.raw)
        try system("fsync") { fsync(fd.raw) }
    }

    /// As mincore(2) counts them.
    private func residentPages(of file: CInt, size: Int) throws -> Int {
        let map = try #require(mmap(nil, size, PROT_READ, MAP_SHARED, file, 0))
        try #require(map != MAP_FAILED)
        defer { munmap(map, size) }
        var pages = [UInt8](repeating: 0, count: size / 4096)
        try system("mincore") { mincore(map, size, &pages) }
        return pages.count { $0 & 1 == 1 }
    }
}
