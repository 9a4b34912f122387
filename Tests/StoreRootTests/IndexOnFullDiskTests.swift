// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
import LinuxSys
import StoreRoot
import SystemPackage
import TestGates
import Testing

/// What SQLite maps of a store on a full btrfs, where a page that was written to disk needs space for its next change.
@Suite(.requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs")))
struct IndexOnFullDiskTests {
    @Test func aChangeUsesWhatIsKeptBack() throws {
        let disk = try FullDisk()
        disk.reserve.withPlatformString { path in
            csqlite_may_use(path)
            disk.touch()
            csqlite_may_use(nil)
        }
        #expect(try Files.status(disk.reserve) == nil)
    }

    @Test func aChangeWithoutSpaceEndsInOneLine() throws {
        let disk = try FullDisk()
        let output = disk.output
        let file = try Files.open(output, O_WRONLY | O_CREAT, mode: 0o600)
        // The child does nothing but this, and Swift knows no other way to have one.
        let fork = unsafeBitCast(try #require(dlsym(nil, "fork")), to: (@convention(c) () -> pid_t).self)
        let child = fork()
        if child == 0 {
            dup2(file.raw, 2)
            disk.touch()
            _exit(0)
        }
        var status: CInt = 0
        #expect(waitpid(child, &status, 0) == child)
        #expect(status == 125 << 8)
        let text = String(decoding: try Files.contents(output), as: UTF8.self)
        #expect(text.contains("index of the store's database: No space left on device"), "\(text)")
    }
}

/// A full file system, and what SQLite would have mapped of it, written to disk since.
private final class FullDisk {
    private let disk: LoopFileSystem
    private let index: SharedFD
    private let page: UnsafeMutableRawPointer

    var reserve: FilePath { disk.path.appending("reserve") }
    /// On another file system.
    var output: FilePath { disk.path.removingLastComponent().appending("output") }

    init() throws {
        disk = try LoopFileSystem("btrfs", size: 160 << 20, options: ["-m", "single"])
        let store = try StoreRoot.open(
            disk.path.appending("store"),
            run: disk.path.appending("run"),
            access: .write
        )
        try store.database.transaction(durable: false) { _ in }
        let size = 32 << 10
        let index = SharedFD(try Files.open(disk.path.appending("index"), O_RDWR | O_CREAT, mode: 0o600))
        try system("ftruncate") { ftruncate(index.raw, size) }
        self.index = index
        typealias Map =
            @convention(c) (UnsafeMutableRawPointer?, Int, CInt, CInt, CInt, off_t) ->
            UnsafeMutableRawPointer?
        let files = try #require(sqlite3_vfs_find(nil))
        let map = unsafeBitCast(try #require(files.pointee.xGetSystemCall(files, "mmap")), to: Map.self)
        page = try #require(map(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, index.raw, 0))
        try fill(reserve, upTo: 1 << 20)
        try fill(disk.path.appending("rest"), upTo: .max)
    }

    func touch() {
        // A test runs with its signals blocked, and a blocked one of this kind ends the process.
        var bus = sigset_t()
        sigemptyset(&bus)
        sigaddset(&bus, SIGBUS)
        pthread_sigmask(SIG_UNBLOCK, &bus, nil)
        page.storeBytes(of: 7, as: UInt8.self)
    }
}

private func fill(_ path: FilePath, upTo limit: Int) throws {
    let file = try Files.open(path, O_WRONLY | O_CREAT, mode: 0o600)
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    var written = 0
    while written < limit, piece.count >= 4096 {
        arc4random_buf(&piece, piece.count)
        let count = write(file.raw, piece, piece.count)
        if count > 0 { written += count } else { piece.removeLast(piece.count / 2) }
        if count <= 0 || written >= limit { try Files.syncFileSystem(of: file.raw) }
    }
}
