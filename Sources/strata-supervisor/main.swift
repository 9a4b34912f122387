// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Supervisor

// Holds one container; started by `strata` with a job in the descriptor that its argument names.
do {
    // The container dies with this process, so this process lives on; what it starts has these signals' defaults.
    try SignalRelay.swallow([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM])
    guard CommandLine.argc == 2 else { throw StartFailure("usage: strata-supervisor DESCRIPTOR") }
    Supervisor.run(try SupervisorStart.job(inheritedAt: CommandLine.arguments[1]), ContainerLaunch.start)
} catch {
    try? Files.writeAll(Array("strata-supervisor: \(error)\n".utf8), to: STDERR_FILENO)
    exit(125)
}
