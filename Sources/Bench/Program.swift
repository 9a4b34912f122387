// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// A program that is called as a user would call it, and measured.
///
/// It stays in our process group, so that Ctrl-C reaches it too.
struct Program: Sendable {
    let words: [String]

    init(_ words: [String]) { self.words = words }

    func callAsFunction(_ arguments: String...) throws -> Outcome { try run(arguments) }

    /// Runs it to its end; anything but exit status 0 is an error with the first line it wrote.
    @discardableResult
    func run(_ arguments: [String]) throws -> Outcome {
        let left = LeftBehind()
        let running = try start(arguments)
        var outcome = try running.wait()
        left.add(to: &outcome.sample)
        if outcome.status != 0 { throw failure(arguments, outcome) }
        return outcome
    }

    /// Runs it `count` times at once, until the last has ended.
    func run(_ arguments: [String], atOnce count: Int) throws -> Sample {
        let left = LeftBehind()
        let start = Meter.now()
        var running: [Running] = []
        var firstError: (any Error)?
        for _ in 0..<count {
            do { running.append(try self.start(arguments)) } catch { firstError = firstError ?? error }
        }
        var total = Sample(value: 0)
        for process in running {
            do {
                let outcome = try process.wait()
                if outcome.status != 0 { throw failure(arguments, outcome) }
                total.cpu += outcome.sample.cpu
                total.written += outcome.sample.written
            } catch { firstError = firstError ?? error }
        }
        total.value = Meter.now() - start
        left.add(to: &total)
        if let firstError { throw firstError }
        return total
    }

    struct Outcome {
        var sample: Sample
        /// Bytes, at most held.
        var memory: Int64
        /// The exit status, or 128 and the signal.
        var status: Int32
        var output: String
    }

    private struct Running {
        let process: pid_t
        let start: Int64
        /// Standard output and error, in memory.
        let output: SharedFD

        func wait() throws -> Outcome {
            // Left to be reaped, it still has its counters.
            var information = siginfo_t()
            try system("waitid") { waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) }
            let end = Meter.now()
            let written = Meter.written(by: "\(process)")
            var status: CInt = 0
            var usage = rusage()
            try system("wait4") { wait4(process, &status, 0, &usage) }
            let signal = status & 0x7F
            try system("lseek") { lseek(output.raw, 0, SEEK_SET) }
            let text = try Files.contents(of: output.raw, limit: 64 << 20)
            return Outcome(
                sample: Sample(value: end - start, cpu: Meter.cpu(usage), written: written),
                memory: Int64(usage.ru_maxrss) * 1024,
                status: signal == 0 ? status >> 8 & 0xFF : 128 + signal,
                output: String(decoding: text, as: UTF8.self)
            )
        }
    }

    private func start(_ arguments: [String]) throws -> Running {
        let all = words + arguments
        let output = SharedFD(
            OwnedFD(adopting: try system("memfd_create") { clinux_memfd_create("output", 0) })
        )
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 2)
        var pointers: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        let start = Meter.now()
        let code = posix_spawnp(&process, all[0], &actions, nil, &pointers, environ)
        if code != 0 {
            throw StorageError(SystemError("start", all[0], Errno(rawValue: code)), doing: "measure")
        }
        return Running(process: process, start: start, output: output)
    }

    /// By the program's name and the verb: the paths between them are the benchmark's own.
    private func failure(_ arguments: [String], _ outcome: Outcome) -> StorageError {
        let name = words.first.map { FilePath($0).lastComponent?.string ?? $0 } ?? ""
        let verb = arguments.first.map { $0.hasPrefix("-") ? "" : " " + $0 } ?? ""
        let line = outcome.output.split(separator: "\n").last.map(String.init) ?? "it said nothing"
        return StorageError(.system, "\(name)\(verb), exit status \(outcome.status): \(line)")
    }
}
