// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates

/// What a program printed and how it ended.
struct Outcome: CustomStringConvertible {
    var arguments: [String]
    var output: [UInt8]
    var errors: [UInt8]
    /// The exit code; 128 + the number of the signal that killed it.
    var code: Int32

    var text: String { String(decoding: output, as: UTF8.self) }
    var errorText: String { String(decoding: errors, as: UTF8.self) }
    var lines: [String] { text.split(separator: "\n").map(String.init) }
    /// The output without its last newline.
    var line: String { lines.first ?? "" }

    var description: String { "\(arguments.joined(separator: " ")): exit \(code)\n\(text)\(errorText)" }
}

/// A program that runs beside the test.
final class RunningProgram {
    let pid: pid_t
    private let arguments: [String]
    private let output: OwnedFD
    private let errors: OwnedFD

    fileprivate init(pid: pid_t, arguments: [String], output: consuming OwnedFD, errors: consuming OwnedFD) {
        self.pid = pid
        self.arguments = arguments
        self.output = output
        self.errors = errors
    }

    func signal(_ number: CInt) { kill(pid, number) }

    /// Whether it has ended; `wait` still gives its outcome.
    var hasEnded: Bool {
        var info = siginfo_t()
        return waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0
            && info._sifields._sigchld.si_pid == pid
    }

    /// Waits until it has printed `text`.
    func waitForOutput(_ text: String) throws {
        let isThere = try eventually {
            String(decoding: try whole(output.raw), as: UTF8.self).contains(text)
        }
        if isThere { return }
        throw UnexpectedOutcome(description: "\(arguments.joined(separator: " ")): did not print \(text)")
    }

    /// Waits for its end; one that lasts longer than five minutes is killed, and shows as that.
    func wait() throws -> Outcome {
        var status: CInt = 0
        var ended: pid_t = 0
        for attempt in 0..<30_000 where ended == 0 {
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

enum Program {
    /// Starts a program found in PATH.
    ///
    /// Its output goes to files, so that no pipe can fill up.
    static func start(
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

    static func run(_ arguments: [String], input: [UInt8] = [], environment: [String] = []) throws -> Outcome
    {
        try start(arguments, input: input, environment: environment).wait()
    }

    /// Runs a shell script, which must succeed.
    @discardableResult
    static func shell(_ script: String, environment: [String] = []) throws -> Outcome {
        let outcome = try run(["bash", "-euo", "pipefail", "-c", script], environment: environment)
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        return outcome
    }
}

struct UnexpectedOutcome: Error, CustomStringConvertible {
    let description: String
}

/// The built `strata` with a store of its own, which goes with this object.
final class Strata {
    let directory: TemporaryDirectory
    var root: FilePath { directory.appending("store") }
    var runRoot: FilePath { directory.appending("run") }
    /// Flags before the verb.
    let flags: [String]

    /// Beside the test bundle, where SwiftPM builds it; STRATA names another.
    static let program: String = {
        if let path = getenv("STRATA") { return String(cString: path) }
        let bundle = (try? Files.readLink("/proc/self/exe")).map {
            FilePath(String(decoding: $0, as: UTF8.self))
        }
        for argument in CommandLine.arguments where argument.contains(".build") {
            let folder = FilePath(argument).removingLastComponent().appending("strata")
            if (try? Files.status(folder)) != nil { return folder.string }
        }
        return bundle?.removingLastComponent().appending("strata").string ?? "strata"
    }()

    /// - Parameter place: where its store lies; `nil`: where all temporary directories are.
    init(driver: String? = nil, below place: FilePath? = nil) throws {
        directory = try TemporaryDirectory(below: place ?? TemporaryDirectory.base)
        var flags = [
            "--root", directory.appending("store").string, "--run-root", directory.appending("run").string,
        ]
        if let driver { flags += ["--storage-driver", driver] }
        self.flags = flags
    }

    deinit {
        let ids = (try? self("ps", "-aq").lines) ?? []
        if !ids.isEmpty { _ = try? Program.run([Self.program] + flags + ["rm", "-f"] + ids) }
    }

    /// Runs a verb, whatever comes of it.
    func callAsFunction(_ arguments: String..., input: [UInt8] = []) throws -> Outcome {
        try Program.run([Self.program] + flags + arguments, input: input)
    }

    /// Runs a verb that must succeed; its output.
    @discardableResult
    func ok(_ arguments: String..., input: [UInt8] = []) throws -> Outcome {
        let outcome = try Program.run([Self.program] + flags + arguments, input: input)
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        return outcome
    }

    func start(_ arguments: String...) throws -> RunningProgram {
        try Program.start([Self.program] + flags + arguments)
    }

    /// Imports an image of busybox-static as `busybox`.
    func importBusybox() throws {
        let rootfs = directory.appending("rootfs").string
        try Program.shell(
            """
            mkdir -p \(rootfs)/{bin,etc,root,tmp,home}; chmod 1777 \(rootfs)/tmp
            cp /bin/busybox \(rootfs)/bin/
            for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -s busybox \(rootfs)/bin/$a; done
            printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000:user:/home:/bin/sh\\n' > \(rootfs)/etc/passwd
            printf 'root:x:0:\\nuser:x:1000:\\nextra:x:2000:user\\n' > \(rootfs)/etc/group
            tar -C \(rootfs) --numeric-owner -cf \(rootfs).tar .
            """
        )
        try ok("import", "--change", "CMD [\"/bin/sh\"]", "\(rootfs).tar", "busybox")
    }
}
