// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Supervisor

// Holds one container, or one mount of a layer; started by `strata` with a job in the descriptor that its last
// argument names.
do {
    // What is held goes with this process, so this process lives on; what it starts has these signals' defaults.
    try SignalRelay.swallow([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM])
    let words = CommandLine.arguments.dropFirst()
    switch (words.first, words.count) {
    case ("mount"?, 2): MountHolder.run(try SupervisorStart.mountJob(inheritedAt: words[2]))
    case (let descriptor?, 1):
        Supervisor.run(try SupervisorStart.job(inheritedAt: descriptor), ContainerLaunch.start)
    default: throw StartFailure("usage: strata-supervisor [mount] DESCRIPTOR")
    }
} catch {
    try? Files.writeAll(Array("strata-supervisor: \(error)\n".utf8), to: STDERR_FILENO)
    exit(125)
}
