// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import SystemPackage

/// The client's side of an attached container: standard input and outputs of this process on one side, the control
/// socket on the other.
package struct AttachSession: ~Copyable {
    package struct Options: Sendable {
        /// Standard input is passed on.
        package var input: Bool
        /// The container has a terminal: ours is put into raw mode (if it is one), and its size follows ours.
        package var terminal: Bool
        /// Signals that come to this process go to the container; without, they do here what they do.
        package var proxiesSignals: Bool
        package var detachKeys: DetachKeys

        package init(
            input: Bool,
            terminal: Bool,
            proxiesSignals: Bool = true,
            detachKeys: DetachKeys = .standard
        ) {
            self.input = input
            self.terminal = terminal
            self.proxiesSignals = proxiesSignals
            self.detachKeys = detachKeys
        }
    }

    package enum Outcome: Hashable, Sendable {
        case ended(ExitRecord)
        case detached
        /// The supervisor is gone without a word: killed.
        case lost
    }

    /// What Docker passes on: all that a program can catch but those that concern this process alone.
    private static let proxied: [CInt] =
        [
            SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGALRM, SIGVTALRM, SIGIO, SIGXCPU, SIGCONT,
            SIGTSTP,
        ]

    private let connection: ControlConnection
    /// For requests, which must not queue behind input; made when first needed.
    private let runDirectory: FilePath
    private var keys: DetachKeys
    private let options: Options
    private var readsInput: Bool

    /// For a connection that is attached already (`SupervisorJob.client`).
    package init(_ connection: ControlConnection, runDirectory: FilePath, _ options: Options) {
        self.connection = connection
        self.runDirectory = runDirectory
        self.options = options
        keys = options.detachKeys
        readsInput = options.input
    }

    /// Attaches to a running container; `nil` if it does not run.
    package static func attach(
        _ runDirectory: FilePath,
        _ what: AttachOptions,
        _ options: Options
    ) throws -> AttachSession? {
        guard let connection = try ControlConnection.connect(runDirectory) else { return nil }
        try connection.send(.attach(what))
        return AttachSession(connection, runDirectory: runDirectory, options)
    }

    /// Passes everything on, both ways, until the container has ended, the keys to detach are typed, or the
    /// supervisor is gone.
    package consuming func run() throws -> Outcome {
        var session = self
        return try session.serve()
    }

    private mutating func serve() throws -> Outcome {
        let isTerminal = options.terminal && Terminal.isTerminal(0)
        var signals: [CInt] = isTerminal ? [SIGWINCH] : []
        // In raw mode the keys are bytes; these signals then come from elsewhere, such as a terminal window that closes.
        if options.proxiesSignals { signals += Self.proxied }
        try SignalRelay.swallow([SIGPIPE])
        let raw: RawTerminal? = isTerminal && options.input ? try Terminal.raw(0) : nil
        let relay = try SignalRelay.of(signals)
        if isTerminal { followSize() }
        defer { _ = raw }
        return try pass(relay)
    }

    private mutating func pass(_ relay: borrowing SignalRelay) throws -> Outcome {
        while true {
            var list = [
                pollfd(fd: connection.socket.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: relay.fd, events: Int16(POLLIN), revents: 0),
                pollfd(fd: readsInput ? 0 : -1, events: Int16(POLLIN), revents: 0),
            ]
            try system("poll") { poll(&list, nfds_t(list.count), -1) }
            if list[1].revents != 0 { for signal in relay.next() { passOn(signal) } }
            if list[0].revents != 0 {
                guard let message = try connection.receive() else { return .lost }
                switch message {
                case .output(let stream, let bytes): try write(bytes, to: stream == .stdout ? 1 : 2)
                case .ended(let record): return .ended(record)
                default: break
                }
            } else if list[2].revents != 0, try !passInput() {
                return .detached
            }
        }
    }

    /// Passes on what has been typed; whether to go on.
    private mutating func passInput() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: ControlMessage.largestData / 2)
        let count = (try? system("read") { read(0, &buffer, buffer.count) }) ?? 0
        if count <= 0 {
            readsInput = false
            try connection.send(.endInput)
            return true
        }
        guard options.terminal else {
            try connection.send(.input(Array(buffer[..<count])))
            return true
        }
        let typed = keys.filter(buffer[..<count])
        if !typed.bytes.isEmpty { try connection.send(.input(typed.bytes)) }
        return !typed.detached
    }

    /// Writes all of it.
    ///
    /// That the reader has gone is no reason to end the container; that another program made the descriptor
    /// non-blocking is no reason to lose output.
    private func write(_ bytes: [UInt8], to fd: CInt) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let attempt = Attempt("write") {
                bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress.map { $0 + done }, $0.count - done) }
            }
            switch attempt {
            case .done(let count): done += count
            case .failed: return
            case .later:
                var list = [pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)]
                try system("poll") { poll(&list, 1, -1) }
            }
        }
    }

    private func passOn(_ signal: CInt) {
        if signal == SIGWINCH { return followSize() }
        guard let requests = try? ControlConnection.connect(runDirectory) else { return }
        try? requests.signal(signal)
    }

    private func followSize() {
        guard let size = try? Terminal.size(of: 0), size.rows > 0,
            let requests = try? ControlConnection.connect(runDirectory)
        else { return }
        try? requests.resize(size)
    }
}
