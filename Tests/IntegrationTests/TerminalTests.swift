// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// Commands in front on a terminal, which Python's pty module gives them.
@Suite(.requires(.root, .overlay, .program("busybox"), .program("python3")), .serialized)
struct TerminalTests {
    let strata: Strata

    init() throws {
        strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
    }

    /// Runs a verb on a terminal of its own, sends it a signal once the container prints a prompt or a word and the
    /// terminal is in raw mode, and waits for its end.
    ///
    /// Prints the exit code (negative: the signal) and whether the terminal is as it was.
    private static let onTerminal = """
        import fcntl, os, pty, select, signal, subprocess, sys, termios, time
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        def own():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        child = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=own)
        select.select([master], [], [], 240)
        deadline = time.time() + 240
        while termios.tcgetattr(slave)[3] & termios.ICANON and child.poll() is None and time.time() < deadline:
            time.sleep(0.02)
        child.send_signal(getattr(signal, sys.argv[1]))
        print(child.wait(240), termios.tcgetattr(slave)[:4] == before[:4])
        """

    private func onTerminal(_ signal: String, _ words: [String]) throws -> Outcome {
        try Program.run(["python3", "-c", Self.onTerminal, signal, Strata.program] + strata.flags + words)
    }

    /// A terminal window that is closed takes the container with it, as does any signal it dies of.
    @Test(arguments: [("SIGHUP", 129), ("SIGTERM", 143), ("SIGUSR1", 138)])
    func signalsGoToTheContainer(_ signal: String, _ code: Int) throws {
        let script = "trap 'exit \(code)' \(signal.dropFirst(3)); echo ready; while :; do sleep 0.1; done"
        let outcome = try onTerminal(signal, ["run", "--rm", "-it", "busybox", "sh", "-c", script])
        #expect(outcome.line == "\(code) True", "\(outcome)")
        #expect(try strata.ok("ps", "-aq").text == "")
    }

    @Test(arguments: ["SIGHUP", "SIGTERM", "SIGUSR1", "SIGSEGV"])
    func execGivesTheTerminalBack(_ signal: String) throws {
        try strata.ok("run", "-d", "--name", "work", "busybox", "sleep", "1000")
        let outcome = try onTerminal(signal, ["exec", "-it", "work", "sh"])
        #expect(outcome.line.hasPrefix("-") && outcome.line.hasSuffix(" True"), "\(outcome)")
        try strata.ok("exec", "work", "true")
        try strata.ok("rm", "-f", "work")
    }
}
