// SPDX-License-Identifier: Apache-2.0

package import Glibc
import LinuxSys
import SystemPackage

/// What a program printed and how it ended.
package struct Outcome: CustomStringConvertible {
    package var arguments: [String]
    package var output: [UInt8]
    package var errors: [UInt8]
    /// The exit code; 128 + the number of the signal that killed it.
    package var code: Int32

    package var text: String { String(decoding: output, as: UTF8.self) }
    package var errorText: String { String(decoding: errors, as: UTF8.self) }
    package var lines: [String] { text.split(separator: "\n").map(String.init) }
    /// The output without its last newline.
    package var line: String { lines.first ?? "" }

    package var description: String {
        "\(arguments.joined(separator: " ")): exit \(code)\n\(text)\(errorText)"
    }
}

/// A program that runs beside the test.
package final class RunningProgram {
    package let pid: pid_t
    private let arguments: [String]
    private let output: OwnedFD
    private let errors: OwnedFD

    fileprivate init(pid: pid_t, arguments: [String], output: consuming OwnedFD, errors: consuming OwnedFD) {
        self.pid = pid
        self.arguments = arguments
        self.output = output
        self.errors = errors
    }

    package func signal(_ number: CInt) { kill(pid, number) }

    /// Whether it has ended; `wait` still gives its outcome.
    package var hasEnded: Bool {
        var info = siginfo_t()
        return waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0
            && info._sifields._sigchld.si_pid == pid
    }

    /// Waits until it has printed `text`.
    package func waitForOutput(_ text: String) throws {
        let isThere = try eventually {
            String(decoding: try whole(output.raw), as: UTF8.self).contains(text)
        }
        if isThere { return }
        throw UnexpectedOutcome(description: "\(arguments.joined(separator: " ")): did not print \(text)")
    }

    /// Waits for its end; one that lasts longer than `limit` seconds is killed, and shows as that.
    package func wait(limit: Int = 900) throws -> Outcome {
        var status: CInt = 0
        var ended: pid_t = 0
        for attempt in 0..<limit * 100 where ended == 0 {
            ended = try system("waitpid") { waitpid(pid, &status, WNOHANG) }
            if ended == 0 { usleep(attempt < 100 ? 1_000 : 10_000) }
        }
        if ended == 0 {
            kill(pid, SIGKILL)
            try system("waitpid") { waitpid(pid, &status, 0) }
        }
        let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
        return Outcome(
            arguments: arguments,
            output: try whole(output.raw),
            errors: try whole(errors.raw),
            code: code
        )
    }

    private func whole(_ file: CInt) throws -> [UInt8] {
        try system("lseek") { lseek(file, 0, SEEK_SET) }
        return try Files.contents(of: file, limit: 256 << 20)
    }
}

package enum Program {
    /// Starts a program found in PATH.
    ///
    /// Its output goes to files, so that no pipe can fill up.
    package static func start(
        _ arguments: [String],
        input: [UInt8] = [],
        environment: [String] = []
    ) throws -> RunningProgram {
        let files = try [input, [], []].map { bytes throws -> SharedFD in
            let file = try Files.open(TemporaryDirectory.base, O_RDWR | 0o20200000, mode: 0o600)  // O_TMPFILE
            try Files.writeAll(bytes, to: file.raw)
            try system("lseek") { lseek(file.raw, 0, SEEK_SET) }
            return SharedFD(file)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, file) in files.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, file.raw, CInt(target))
        }
        var inherited: [String] = []
        var cursor = environ
        while let entry = cursor.pointee {
            inherited.append(String(cString: entry))
            cursor += 1
        }
        let names = Set(environment.map { String($0.prefix { $0 != "=" }) })
        let all = inherited.filter { !names.contains(String($0.prefix { $0 != "=" })) } + environment
        var argv = arguments.map { strdup($0) } + [nil]
        var envp = all.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        // The test runner's threads block signals, which a program started by a user does not find blocked.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let failure = posix_spawnp(&pid, arguments[0], &actions, &attributes, &argv, &envp)
        guard failure == 0 else { throw SystemError("start", arguments[0], Errno(rawValue: failure)) }
        return RunningProgram(
            pid: pid,
            arguments: arguments,
            output: try files[1].fd.duplicate(),
            errors: try files[2].fd.duplicate()
        )
    }

    package static func run(
        _ arguments: [String],
        input: [UInt8] = [],
        environment: [String] = [],
        limit: Int = 900
    ) throws -> Outcome {
        try start(arguments, input: input, environment: environment).wait(limit: limit)
    }

    /// Runs a shell script, which must succeed.
    @discardableResult
    package static func shell(_ script: String, environment: [String] = []) throws -> Outcome {
        let outcome = try run(["bash", "-euo", "pipefail", "-c", script], environment: environment)
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        return outcome
    }
}

package struct UnexpectedOutcome: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}
