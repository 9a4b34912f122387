// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Names of signals, as kill(1) and Docker take them (signal(7)).
package enum Signals {
    /// The number of `text`: a name with or without `SIG`, in any case, `RTMIN+3`, or a number 1...64.
    package static func number(_ text: String) -> CInt? {
        if let number = CInt(text) { return (1...64).contains(number) ? number : nil }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let number = numbers.first(where: { $0.name == name })?.number { return number }
        if name == "RTMIN" { return 34 }
        if name == "RTMAX" { return 64 }
        if name.hasPrefix("RTMIN+"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) {
            return 34 + offset
        }
        if name.hasPrefix("RTMAX-"), let offset = CInt(name.dropFirst(6)), (0...30).contains(offset) {
            return 64 - offset
        }
        return nil
    }

    /// `SIGTERM` for 15; the bare number where there is no name.
    package static func name(_ number: CInt) -> String {
        numbers.first { $0.number == number }.map { "SIG\($0.name)" } ?? "\(number)"
    }

    private static let numbers: [(name: String, number: CInt)] = [
        ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP),
        ("ABRT", SIGABRT),
        ("IOT", SIGABRT), ("BUS", SIGBUS), ("FPE", SIGFPE), ("KILL", SIGKILL), ("USR1", SIGUSR1),
        ("SEGV", SIGSEGV),
        ("USR2", SIGUSR2), ("PIPE", SIGPIPE), ("ALRM", SIGALRM), ("TERM", SIGTERM), ("STKFLT", 16),
        ("CHLD", SIGCHLD),
        ("CLD", SIGCHLD), ("CONT", SIGCONT), ("STOP", SIGSTOP), ("TSTP", SIGTSTP), ("TTIN", SIGTTIN),
        ("TTOU", SIGTTOU), ("URG", SIGURG), ("XCPU", SIGXCPU), ("XFSZ", SIGXFSZ), ("VTALRM", SIGVTALRM),
        ("PROF", SIGPROF), ("WINCH", SIGWINCH), ("IO", SIGIO), ("POLL", SIGIO), ("PWR", 30), ("SYS", SIGSYS),
    ]
}
