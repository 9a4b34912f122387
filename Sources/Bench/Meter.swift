// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// Measures what this process, and the processes that serve a mount, do in between.
struct Meter {
    /// Those of a file system in user space, if it is one.
    let companions: [pid_t]

    /// - Parameter companion: it may have started the one that serves.
    init(companion: pid_t? = nil) { companions = companion.map { [$0] + Self.children(of: $0) } ?? [] }

    private static func children(of process: pid_t) -> [pid_t] {
        let bytes = try? Files.contents("/proc/\(process)/task/\(process)/children", limit: 4096)
        return String(decoding: bytes ?? [], as: UTF8.self).split(separator: " ").compactMap { pid_t($0) }
    }

    func sample(_ body: () throws -> Void) throws -> Sample {
        let before = counters()
        let start = Self.now()
        try body()
        let end = Self.now()
        let after = counters()
        return Sample(
            value: end - start,
            cpu: after.cpu - before.cpu,
            written: after.written - before.written
        )
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private func counters() -> (cpu: Int64, written: Int64) {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        var cpu = Self.cpu(usage)
        var written = Self.written(by: "self")
        for companion in companions {
            cpu += Self.cpu(of: companion)
            written += Self.written(by: "\(companion)")
        }
        return (cpu, written)
    }

    /// User and system time in nanoseconds.
    static func cpu(_ usage: rusage) -> Int64 {
        func nanoseconds(_ time: timeval) -> Int64 {
            Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_usec) * 1000
        }
        return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime)
    }

    /// As `cpu`, by proc_pid_stat(5): in ticks, so to 10 ms.
    private static func cpu(of process: pid_t) -> Int64 {
        guard let bytes = try? Files.contents("/proc/\(process)/stat", limit: 4096) else { return 0 }
        // The program's name stands in parentheses and may hold anything.
        let fields =
            String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else {
            return 0
        }
        return (user + system) * (1_000_000_000 / Int64(sysconf(CInt(_SC_CLK_TCK))))
    }

    /// What a process wrote, by `write_bytes` of proc_pid_io(5).
    ///
    /// Pages count when they become dirty; 0 where the kernel does not count.
    static func written(by process: String) -> Int64 {
        guard let bytes = try? Files.contents("/proc/\(process)/io", limit: 4096) else { return 0 }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.first == "write_bytes:", parts.count == 2 { return Int64(parts[1]) ?? 0 }
        }
        return 0
    }
}
