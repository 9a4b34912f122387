// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// The size of a terminal in characters.
package struct WindowSize: Hashable, Sendable {
    package var rows: UInt16
    package var columns: UInt16

    package init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}

/// A terminal by descriptor.
package enum Terminal {
    package static func isTerminal(_ fd: CInt) -> Bool { isatty(fd) == 1 }

    package static func size(of fd: CInt) throws(SystemError) -> WindowSize {
        var size = WindowSize(rows: 0, columns: 0)
        try system("TIOCGWINSZ") { clinux_get_window_size(fd, &size.rows, &size.columns) }
        return size
    }

    package static func setSize(of fd: CInt, to size: WindowSize) throws(SystemError) {
        try system("TIOCSWINSZ") { clinux_set_window_size(fd, size.rows, size.columns) }
    }

    /// Makes the terminal pass every byte on as it is typed, until the answer is dropped or the process is
    /// ended by a signal.
    ///
    /// One at a time in a process.
    package static func raw(_ fd: CInt) throws(SystemError) -> RawTerminal {
        var settings = termios()
        try system("tcgetattr") { tcgetattr(fd, &settings) }
        let terminal = RawTerminal(fd: fd, settings: settings)
        try terminal.enter()
        return terminal
    }
}

/// A terminal in raw mode.
///
/// Its settings are put back when this is dropped, and by the signals that would end the process. (`exit()`
/// runs no destructors: call `restore` before.)
package struct RawTerminal: ~Copyable {
    private static let deadly = [
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGXCPU, SIGIO, SIGILL,
        SIGTRAP,
        SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS,
    ]

    private let fd: CInt
    private let settings: termios

    fileprivate init(fd: CInt, settings: termios) {
        self.fd = fd
        self.settings = settings
    }

    fileprivate borrowing func enter() throws(SystemError) {
        let fd = fd
        var (settings, raw) = (settings, settings)
        for signal in Self.deadly {
            try system("sigaction") { clinux_restore_terminal_on(signal, fd, &settings) }
        }
        cfmakeraw(&raw)
        try system("tcsetattr") { tcsetattr(fd, TCSANOW, &raw) }
    }

    deinit { Self.putBack(fd, settings) }

    package consuming func restore() {
        let (fd, settings) = (fd, settings)
        discard self
        Self.putBack(fd, settings)
    }

    private static func putBack(_ fd: CInt, _ settings: termios) {
        var settings = settings
        _ = tcsetattr(fd, TCSADRAIN, &settings)
        for signal in deadly { _ = clinux_default_signal(signal) }
    }
}

/// Signals as bytes of a pipe, for a program that waits in poll(2).
///
/// They stay relayed until the answer is dropped.
package struct SignalRelay: ~Copyable {
    private let signals: [CInt]
    private let output: OwnedFD
    private let input: OwnedFD
    /// Readable when a signal has come.
    package var fd: CInt { output.raw }

    package static func of(_ signals: [CInt]) throws(SystemError) -> SignalRelay {
        var pair: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&pair) }
        let relay = SignalRelay(
            signals: signals,
            output: OwnedFD(adopting: pair[0]),
            input: OwnedFD(adopting: pair[1])
        )
        for end in pair { try system("fcntl") { clinux_set_nonblocking(end, 1) } }
        for signal in signals { try system("sigaction") { clinux_relay_signal(signal, pair[1]) } }
        return relay
    }

    private init(signals: [CInt], output: consuming OwnedFD, input: consuming OwnedFD) {
        self.signals = signals
        self.output = output
        self.input = input
    }

    deinit {
        for signal in signals { _ = clinux_default_signal(signal) }
    }

    /// The signals that have come since.
    package borrowing func next() -> [CInt] {
        var buffer = [UInt8](repeating: 0, count: 64)
        let descriptor = output.raw
        let count = (try? system("read") { read(descriptor, &buffer, buffer.count) }) ?? 0
        return buffer.prefix(count).map { CInt($0) }
    }

    /// From now on these signals do nothing here, and their default in a program that is executed.
    package static func swallow(_ signals: [CInt]) throws(SystemError) {
        for signal in signals { try system("sigaction") { clinux_relay_signal(signal, -1) } }
    }
}
