// SPDX-License-Identifier: Apache-2.0

import CLinux
package import LinuxSys

/// How a process ended.
package enum ProcessExit: Hashable, Sendable {
    case exited(CInt)
    case signalled(CInt)

    init(waitStatus: CInt) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .exited(waitStatus >> 8 & 0xFF) : .signalled(signal)
    }

    /// As a shell gives it: the exit code, or 128 and the signal.
    package var code: CInt {
        switch self {
        case .exited(let code): code
        case .signalled(let signal): 128 + signal
        }
    }
}

/// A process of ours, by descriptor: its number cannot come to mean another process.
package struct LaunchedProcess: ~Copyable, Sendable {
    package let pid: CInt
    package let pidfd: OwnedFD
    /// The master of its terminal, if it has one.
    package var terminal: OwnedFD?

    /// The number of `terminal`, which this value goes on to own.
    package var terminalMaster: CInt? {
        switch terminal {
        case .some(let master): master.raw
        case .none: nil
        }
    }

    package init(pid: CInt, pidfd: consuming OwnedFD, terminal: consuming OwnedFD? = nil) {
        self.pid = pid
        self.pidfd = pidfd
        self.terminal = terminal
    }

    /// Waits for the end.
    ///
    /// Once only: the process is gone after.
    package borrowing func wait() throws(SystemError) -> ProcessExit {
        var status: CInt = 0
        let descriptor = pidfd.raw
        try system("wait") { clinux_pidfd_wait(descriptor, 0, &status) }
        return ProcessExit(waitStatus: status)
    }

    /// How it ended, or `nil` while it runs.
    package borrowing func status() throws(SystemError) -> ProcessExit? {
        var status: CInt = 0
        let descriptor = pidfd.raw
        let running = try system("wait") { clinux_pidfd_wait(descriptor, 1, &status) }
        return running == 1 ? nil : ProcessExit(waitStatus: status)
    }

    package borrowing func signal(_ number: CInt) throws(SystemError) {
        let descriptor = pidfd.raw
        try system("signal") { clinux_pidfd_send_signal(descriptor, number) }
    }
}
