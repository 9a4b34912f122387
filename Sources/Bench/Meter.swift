// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// Measures what this process, and the processes that serve a mount, do in between.
struct Meter {
    /// Those of a file system in user space, if it is one.
    let companions: [pid_t]

    /// - Parameter companion: it may have started the one that serves.
    init(companion: pid_t? = nil) {
        companions = companion.map { [$0] + Self.children(of: "\($0)") } ?? []
    }

    /// The children of a process, by proc_pid_task(5); none where the kernel does not list them.
    static func children(of process: String) -> [pid_t] {
        threads(of: process).flatMap { words(of: "\($0)/children").compactMap { pid_t($0) } }
    }

    private static func threads(of process: String) -> [String] {
        let path = "/proc/\(process)/task"
        guard let directory = try? Files.openDirectory(path), let threads = try? Files.list(directory.raw)
        else {
            return []
        }
        return threads.map { "\(path)/\($0.name.printable)" }
    }

    func sample(_ body: () throws -> Void) throws -> Sample {
        // To read the files of /proc takes time itself, which is not to count.
        var sample = Sample(value: 0, cpu: -served(), written: -written())
        sample.cpu -= own()
        let start = Self.now()
        try body()
        sample.value = Self.now() - start
        sample.cpu += own()
        sample.cpu += served()
        sample.written += written()
        return sample
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private func own() -> Int64 {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Self.cpu(usage)
    }

    private func served() -> Int64 { companions.reduce(Int64(0)) { $0 + Self.cpu(of: $1) } }

    private func written() -> Int64 {
        companions.reduce(Self.written(by: "self")) { $0 + Self.written(by: "\($1)") }
    }

    /// User and system time in nanoseconds.
    static func cpu(_ usage: rusage) -> Int64 {
        func nanoseconds(_ time: timeval) -> Int64 {
            Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_usec) * 1000
        }
        return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime)
    }

    /// As `cpu`: the first number of each thread's schedstat, or where the kernel has none, in ticks by proc_pid_stat(5).
    private static func cpu(of process: pid_t) -> Int64 {
        let exact = threads(of: "\(process)").compactMap { words(of: "\($0)/schedstat").first }
        if !exact.isEmpty { return exact.reduce(0) { $0 + (Int64($1) ?? 0) } }
        // The program's name stands in parentheses and may hold anything.
        let fields = words(of: "/proc/\(process)/stat", after: ")")
        guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else {
            return 0
        }
        return (user + system) * (1_000_000_000 / Int64(sysconf(CInt(_SC_CLK_TCK))))
    }

    /// The words of a file of /proc, from its last `mark` on; none where it cannot be read.
    private static func words(of path: String, after mark: Character? = nil) -> [Substring] {
        guard let bytes = try? Files.contents(FilePath(path), limit: 1 << 20) else { return [] }
        let text = String(decoding: bytes, as: UTF8.self)
        let rest = mark.flatMap { text.lastIndex(of: $0) }.map { text[text.index(after: $0)...] } ?? text[...]
        return rest.split(whereSeparator: { $0 == " " || $0 == "\n" })
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
