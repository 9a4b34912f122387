// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Work on one large file.
struct LargeFileWork {
    private static let piece = 1 << 20
    private static let block = 4096
    private let file: CInt
    private let bytes: Int

    static let pass = Pass(
        title: "a large file",
        weight: 2,
        figures: [
            "write", "write-cold", "read-cold", "read-warm", "random-read-cold", "random-read",
            "random-write-cold", "random-write", "write-sync",
        ]
    ) { bed, workload, recorder in
        let name: TreePath = "strata-bench-large"
        try bed.withNamedLayer { id, root, meter in
            let file = try Files.open(name, below: root, O_RDWR | O_CREAT | O_EXCL, mode: 0o644)
            let work = LargeFileWork(file: file.raw, bytes: workload.largeBytes)
            func forget() throws {
                try work.forget()
                bed.forget(name, of: id)
            }
            try recorder.time("write", meter) { try work.write() }
            try forget()
            try recorder.time("read-cold", meter) { try work.read() }
            try recorder.time("read-warm", meter) { try work.read() }
            try forget()
            try recorder.time("random-read-cold", meter) { try work.random(workload.cold, isWrite: false) }
            try work.read()
            try recorder.time("random-read", meter) { try work.random(workload.operations, isWrite: false) }
            try forget()
            try recorder.time("random-write-cold", meter) { try work.randomToDisk(workload.cold) }
            try recorder.time("random-write", meter) { try work.random(workload.operations, isWrite: true) }
            // What was written before is not what the first of these waits for.
            try work.sync()
            try recorder.time("write-sync", meter) { try work.writeSynced(workload.synced) }
            try forget()
            try recorder.time("write-cold", meter) { try work.writeToDisk() }
        }
    }

    /// Writes all of it; not with zeros, which a file system may leave out.
    private func write() throws {
        try system("lseek") { lseek(file, 0, SEEK_SET) }
        var random = Random(seed: 7)
        let content = (0..<(Self.piece / 8)).map { _ in random.next() }
        try content.withUnsafeBytes { buffer in
            for _ in 0..<(bytes / Self.piece) { try Files.writeAll(buffer, to: file) }
        }
    }

    private func writeToDisk() throws {
        try write()
        try sync()
    }

    private func randomToDisk(_ count: Int) throws {
        try random(count, isWrite: true)
        try sync()
    }

    private func sync() throws { try system("fdatasync") { fdatasync(file) } }

    /// Takes it out of the page cache.
    private func forget() throws {
        try sync()
        _ = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
    }

    private func read() throws {
        try system("lseek") { lseek(file, 0, SEEK_SET) }
        try withUnsafeTemporaryAllocation(byteCount: Self.piece, alignment: 4096) { buffer in
            while try Files.read(file, into: buffer) > 0 {}
        }
    }

    private func random(_ count: Int, isWrite: Bool) throws {
        var random = Random(seed: 11)
        try withUnsafeTemporaryAllocation(byteCount: Self.block, alignment: 4096) { buffer in
            buffer.initializeMemory(as: UInt8.self, repeating: 5)
            for _ in 0..<count { try transfer(buffer, at: place(&random), isWrite: isWrite) }
        }
    }

    private func writeSynced(_ count: Int) throws {
        var random = Random(seed: 13)
        try withUnsafeTemporaryAllocation(byteCount: Self.block, alignment: 4096) { buffer in
            buffer.initializeMemory(as: UInt8.self, repeating: 6)
            for _ in 0..<count {
                try transfer(buffer, at: place(&random), isWrite: true)
                try sync()
            }
        }
    }

    private func place(_ random: inout Random) -> off_t {
        off_t(random.next() % UInt64(bytes / Self.block)) * off_t(Self.block)
    }

    private func transfer(_ buffer: UnsafeMutableRawBufferPointer, at place: off_t, isWrite: Bool) throws {
        if isWrite {
            try system("pwrite") { pwrite(file, buffer.baseAddress, buffer.count, place) }
        } else {
            try system("pread") { pread(file, buffer.baseAddress, buffer.count, place) }
        }
    }
}
