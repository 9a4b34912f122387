// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LinuxSys
import SystemPackage

/// Holds one container as long as it runs: its terminal or pipes, its log, its clients, and whatever must stay open.
///
/// One thread, one poll(2) loop. Nothing that comes from the container or a client can make it wait or end: both of
/// them are hostile.
package final class Supervisor {
    /// Starts the container of a job.
    package typealias Launcher = (SupervisorJob, ContainerStdio?) throws -> any HeldContainer

    enum Phase {
        case running
        /// The first process has ended; what it left in its pipes is read until they end, or this time.
        case draining(until: Int64)
        /// The program of `onExit` runs.
        case leaving(pidfd: CInt, pid: CInt, until: Int64)
        /// Clients get what still waits for them.
        case farewell(until: Int64)
        case over
    }

    static let mostClients = 256
    /// Bytes of input that may wait for the container.
    static let mostInput = 64 << 10

    let job: SupervisorJob
    let container: any HeldContainer
    let directory: SharedFD
    var listener: SharedFD?
    let log: LogFile?
    let input: InputPipe
    let outputs: [OutputPipe]
    var clients: [ControlClient] = []
    var phase = Phase.running
    var isPaused = false
    var record: ExitRecord?
    let started: Timestamp
    let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: ControlMessage.largestData + 1,
        alignment: 16
    )
    var encoded: [UInt8] = []

    private init(
        _ job: SupervisorJob,
        _ container: any HeldContainer,
        _ place: Place,
        input: InputPipe,
        outputs: [OutputPipe]
    ) {
        self.job = job
        self.container = container
        self.input = input
        self.outputs = outputs
        started = .now
        (directory, listener, log) = (place.directory, place.listener, place.log)
        if let client = job.client {
            let first = ControlClient(OwnedFD(adopting: client))
            first.options = job.clientOptions
            first.awaitsEnd = true
            _ = clinux_set_nonblocking(client, 1)
            clients.append(first)
        }
    }

    deinit { buffer.deallocate() }

    /// Does the job: starts the container, says so over the report pipe, and returns when the container has ended and
    /// all that belongs to its end is done.
    package static func run(_ job: SupervisorJob, _ launch: Launcher) {
        let supervisor: Supervisor
        do {
            supervisor = try start(job, launch)
        } catch {
            let failure = error as? StartFailure ?? StartFailure("\(error)")
            StartReport.failed(failure.description, code: failure.code).send(to: job.report)
            return
        }
        StartReport.started(pid: supervisor.container.pid).send(to: job.report)
        clinux_drop_program_pages()  // the start has needed most of the program, and the loop needs little
        supervisor.loop()
    }

    private static func start(_ job: SupervisorJob, _ launch: Launcher) throws -> Supervisor {
        let place = try Place(job)
        let supervisor: Supervisor
        if job.hasTerminal {
            let container = try launch(job, nil)
            guard let terminal = container.terminal else {
                throw StartFailure("the container has no terminal")
            }
            try system("fcntl") { clinux_set_nonblocking(terminal, 1) }
            supervisor = Supervisor(
                job,
                container,
                place,
                input: InputPipe(borrowing: terminal),
                outputs: [OutputPipe(.stdout, borrowing: terminal)]
            )
        } else {
            let (output, error) = (try ContainerPipe.fromContainer(), try ContainerPipe.fromContainer())
            let (ours, theirs) = try inputEnds(job.input)
            let container = try launch(
                job,
                ContainerStdio(input: theirs.raw, output: output.theirs.raw, error: error.theirs.raw)
            )
            supervisor = Supervisor(
                job,
                container,
                place,
                input: ours,
                outputs: [OutputPipe(.stdout, output.ours), OutputPipe(.stderr, error.ours)]
            )
        }
        try supervisor.writeState()
        return supervisor
    }

    private static func inputEnds(_ input: SupervisorJob.Input) throws(SystemError) -> (InputPipe, SharedFD) {
        if input == .none {
            return (InputPipe(), SharedFD(try Files.open("/dev/null", O_RDONLY)))
        }
        let pipe = try ContainerPipe.toContainer()
        return (InputPipe(pipe.ours), pipe.theirs)
    }

    private func writeState() throws(SystemError) {
        let state: JSON = [
            "pid": .integer(container.pid), "supervisor": .integer(getpid()),
            "started": .string(started.rfc3339),
        ]
        try Files.replace(job.runDirectory.appending(RunFile.state), with: state.bytes(), durable: false)
    }

    /// The present in milliseconds, for limits of time.
    static var milliseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// What a supervisor has in the file system.
struct Place {
    let directory: SharedFD
    let listener: SharedFD
    let log: LogFile?

    /// Opens the log and listens on the control socket.
    init(_ job: SupervisorJob) throws(SystemError) {
        directory = SharedFD(try Files.open(job.runDirectory, O_RDONLY | O_DIRECTORY))
        for name in [RunFile.exit, RunFile.state, RunFile.control] {  // of an earlier run
            try Files.unlink(name, below: directory.raw)
        }
        listener = SharedFD(try ControlSocket.listen(below: directory.raw))
        if let options = job.log { log = try LogFile(options) } else { log = nil }
    }
}
