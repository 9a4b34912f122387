// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import Launch
import LinuxSys
import Runtime
import Storage
import StoreRoot
import Supervisor
import SystemPackage

/// What `exec` is asked for.
package struct ExecOptions: Sendable {
    package var container: String
    package var command: [String]
    package var environment: [String] = []
    package var user: String?
    package var workingDirectory: String?
    package var terminal = false
    package var interactive = false
    package var detached = false

    package init(container: String, command: [String]) {
        self.container = container
        self.command = command
    }
}

extension Engine {
    /// Runs one more program in a running container; its exit code.
    package func exec(_ options: ExecOptions, _ attachment: Attachment) throws -> Int32 {
        let record = try containers.find(options.container)
        let state = try state(of: record)
        guard state.isRunning, let first = try process(of: record), let holder = try holder(of: record.id)
        else {
            throw EngineError(.conflict, "container \(options.container) is not running")
        }
        if state.status == .paused {
            throw EngineError(
                .conflict,
                "container \(options.container) is paused, unpause the container before exec"
            )
        }
        let root = try doing("enter container \(record.shortID)") {
            try Files.open("/proc/\(holder.pid)/root", O_RDONLY | O_DIRECTORY)
        }
        let spec = try spec(of: record, root: root.raw)
        // As Docker: whoever does not wait for the program learns only that it did not start.
        let failure: Int32? = options.detached ? 1 : nil
        let process = try Self.entering(failingWith: failure) { () throws -> Spec.Process in
            try self.process(options, record, spec, root: root.raw)
        }
        var start = StartOptions(cache: self.root.path.appending("cache"), cgroup: spec.linux.cgroupsPath)
        if options.detached {
            start.parentDeathSignal = nil
            let null = try Files.open("/dev/null", O_RDWR)
            start.io = .descriptors(input: null.raw, output: null.raw, error: null.raw)
            _ = try Self.entering(failingWith: failure) {
                try Container.exec(process, in: spec, pidfd: first.raw, options: start).finish()
            }
            return 0
        }
        if options.terminal {
            let size = try? Terminal.size(of: 0)
            start.io = .terminal(size.map { Spec.ConsoleSize(rows: $0.rows, columns: $0.columns) })
            let running = try Self.entering {
                try Container.exec(process, in: spec, pidfd: first.raw, options: start).finish()
            }
            return try TerminalRelay(input: options.interactive, keys: attachment.detachKeys).run(running)
        }
        let null = options.interactive ? nil : SharedFD(try Files.open("/dev/null", O_RDONLY))
        start.io = .descriptors(input: null?.raw ?? 0, output: 1, error: 2)
        let relay = try SignalRelay.of([SIGHUP, SIGINT, SIGQUIT, SIGTERM])
        let running = try Self.entering {
            try Container.exec(process, in: spec, pidfd: first.raw, options: start).finish()
        }
        return try wait(for: running, relay).code
    }

    /// As Docker: 127 for a program that is not there, 126 for whatever else keeps it from running.
    private static func entering<T: ~Copyable>(
        failingWith code: Int32? = nil,
        _ body: () throws -> T
    ) throws -> T {
        do {
            return try body()
        } catch let error as RuntimeError {
            throw StartFailure(error.description, code: code ?? (error.exitCode == 127 ? 127 : 126))
        }
    }

    /// What a running container was started with.
    private func spec(of record: ContainerRecord, root: CInt) throws -> Spec {
        let directory = self.root.containerPath(record.id)
        let path = directory.appending(ContainerFiles.spec)
        return try doing("read the specification of container \(record.shortID)") {
            if try Files.status(path) != nil {
                return try Spec(try JSON.parse(try Files.contents(path, limit: 16 << 20)))
            }
            let config = try record.config
            var spec = try config.spec(id: record.id, directory: directory)
            try config.setUser(of: &spec, root: root)
            return spec
        }
    }

    private func process(
        _ options: ExecOptions,
        _ record: ContainerRecord,
        _ spec: Spec,
        root: CInt
    ) throws -> Spec.Process {
        var process = spec.process
        process.args = options.command
        process.terminal = options.terminal
        let directory = options.workingDirectory ?? ""
        process.cwd = directory.isEmpty ? spec.process.cwd : directory
        guard process.cwd.hasPrefix("/") else {
            throw EngineError(
                .usage,
                "the working directory '\(process.cwd)' is invalid, it needs to be an absolute path"
            )
        }
        if let text = options.user {
            let user = try UserLookup.resolve(text, root: root)
            process.user = user.specUser
            process.env.removeAll { $0.hasPrefix("HOME=") }
            process.env.append("HOME=\(user.home)")
        }
        if options.terminal, !process.env.contains(where: { $0.hasPrefix("TERM=") }) {
            process.env.append("TERM=xterm")
        }
        for text in options.environment {
            let name = text.prefix { $0 != "=" }
            guard text.contains("=") || getenv(String(name)) != nil else { continue }
            process.env.removeAll { $0.hasPrefix("\(name)=") }
            process.env.append(text.contains("=") ? text : "\(name)=\(String(cString: getenv(String(name))))")
        }
        return process
    }
}

/// This process's terminal on one side, that of a program in a container on the other.
struct TerminalRelay {
    let input: Bool
    var keys: DetachKeys

    /// Passes on both ways until the program has ended; its exit code.
    ///
    /// The keys to detach leave it to itself.
    func run(_ running: borrowing RunningContainer) throws -> Int32 {
        guard let master = running.process.terminalMaster else { return try running.wait().code }
        var keys = keys
        let isTerminal = Terminal.isTerminal(0)
        let relay = try SignalRelay.of(isTerminal ? [SIGWINCH] : [])
        let raw: RawTerminal? = isTerminal && input ? try Terminal.raw(0) : nil
        defer { _ = raw }
        var reads = input
        while true {
            var list = [
                pollfd(fd: master, events: Int16(POLLIN), revents: 0),
                pollfd(fd: relay.fd, events: Int16(POLLIN), revents: 0),
                pollfd(fd: reads ? 0 : -1, events: Int16(POLLIN), revents: 0),
            ]
            try system("poll") { poll(&list, nfds_t(list.count), -1) }
            if list[1].revents != 0 {
                for _ in relay.next() {
                    if let size = try? Terminal.size(of: 0) { try? Terminal.setSize(of: master, to: size) }
                }
            }
            if list[0].revents != 0, try !Self.pass(from: master, to: 1) { return try running.wait().code }
            if list[2].revents != 0 {
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = (try? system("read") { read(0, &buffer, buffer.count) }) ?? 0
                if count <= 0 {
                    reads = false
                    try Files.writeAll([4], to: master)  // ^D: the end of input, as a terminal says it
                    continue
                }
                let typed = keys.filter(buffer[..<count])
                try Files.writeAll(typed.bytes, to: master)
                if typed.detached { return 0 }
            }
        }
    }

    /// Whether there may be more.
    private static func pass(from master: CInt, to output: CInt) throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        // EIO: the last program that had the terminal open has ended.
        guard
            let count = try systemAnswer(
                "read",
                expecting: .ioError,
                call: { read(master, &buffer, buffer.count) }
            ),
            count > 0
        else { return false }
        try Files.writeAll(Array(buffer[..<count]), to: output)
        return true
    }
}
