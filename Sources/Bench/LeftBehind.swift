// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys

/// Processes that a program leaves behind, as the server of its container's file system, which ends soon after it.
///
/// What they cost is the program's. They come to this process if it called `adopt`.
package struct LeftBehind {
    /// Who was there before.
    private let known: Set<pid_t>

    package init() { known = Set(Meter.children(of: "self")) }

    /// From now on, this process takes those whose parents ended, as prctl(2) says of a subreaper.
    static func adopt() { _ = clinux_prctl(childSubreaper, 1, 0, 0, 0) }

    /// PR_SET_CHILD_SUBREAPER.
    private static let childSubreaper: CInt = 36

    /// Waits until all have ended, for half a second at most, and adds what they cost.
    package func add(to sample: inout Sample) {
        for _ in 0..<500 {
            let left = Meter.children(of: "self").filter { !known.contains($0) }
            if left.isEmpty { return }
            for process in left { Self.take(process, &sample) }
            usleep(1000)
        }
    }

    /// Takes one if it has ended.
    private static func take(_ process: pid_t, _ sample: inout Sample) {
        var information = siginfo_t()
        // Left to be reaped, it still has its counters.
        guard waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT | WNOHANG) == 0,
            information.si_signo == SIGCHLD
        else { return }
        sample.written += Meter.written(by: "\(process)")
        var usage = rusage()
        if wait4(process, nil, 0, &usage) == process { sample.cpu += Meter.cpu(usage) }
    }
}
