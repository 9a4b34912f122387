// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// What one more container of an image holds in memory.
enum MemoryWork {
    static let pass = Pass(title: "memory", weight: 0.4, figures: ["cache-memory", "server-memory"]) {
        bed,
        _,
        recorder in
        guard let path = try bed.imageFiles().large else { return }
        try bed.withLayer { first, _ in
            try bed.withLayer { second, meter in
                let bytes = try unshared(path, first, second)
                if let bytes { recorder.record("cache-memory", Sample(value: bytes)) }
                let server = meter.companions.map(proportionalSize).reduce(0, +)
                recorder.record("server-memory", Sample(value: server))
            }
        }
    }

    /// Bytes of the file in memory below `second` that are not the same memory as below `first`; `nil` where the kernel does
    /// not say.
    private static func unshared(_ path: TreePath, _ first: CInt, _ second: CInt) throws -> Int64? {
        let pages = try (frames(of: path, below: first), frames(of: path, below: second))
        // Frame 0 is what one without the privilege to know sees.
        if pages.0.isEmpty || pages.0.contains(0) || pages.1.contains(0) { return nil }
        let shared = Set(pages.0)
        return Int64(pages.1.count { !shared.contains($0) }) * Int64(sysconf(CInt(_SC_PAGESIZE)))
    }

    /// Of a large file, this much is enough to know.
    private static let limit = 64 << 20

    /// The physical pages in which the file's content is now, by proc_pid_pagemap(5).
    private static func frames(of path: TreePath, below root: CInt) throws -> [UInt64] {
        let file = try Files.open(path, below: root, O_RDONLY)
        let size = min(Int(try Files.status(of: file.raw).size), limit)
        let map = mmap(nil, max(1, size), PROT_READ, MAP_SHARED | MAP_POPULATE, file.raw, 0)
        guard size > 0, let map, map != MAP_FAILED else { return [] }
        defer { munmap(map, size) }
        let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))
        let table = try Files.open("/proc/self/pagemap", O_RDONLY)
        var entries = [UInt64](repeating: 0, count: (size + pageSize - 1) / pageSize)
        let place = off_t(UInt(bitPattern: map) / UInt(pageSize) * 8)
        let count = try entries.withUnsafeMutableBytes { buffer in
            try system("pread", "/proc/self/pagemap") {
                pread(table.raw, buffer.baseAddress, buffer.count, place)
            }
        }
        return entries.prefix(count / 8).map { $0 & (1 << 55 - 1) }
    }

    /// Bytes of memory that a process has to itself, and its part of what it shares.
    private static func proportionalSize(_ process: pid_t) -> Int64 {
        guard let bytes = try? Files.contents("/proc/\(process)/smaps_rollup", limit: 1 << 16) else {
            return 0
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("Pss:")
        {
            let words = line.split(separator: " ")
            if words.count > 1, let kilobytes = Int64(words[1]) { return kilobytes << 10 }
        }
        return 0
    }
}
