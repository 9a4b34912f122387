// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LinuxSys
import SystemPackage
import TestGates
import Testing

@testable import Supervisor

/// An ordinary process in the place of a container.
private final class PlainProcess: HeldContainer {
    let pid: CInt
    let pidfd: CInt
    let terminal: CInt?
    private let owned: SharedFD

    init(_ arguments: [String], _ stdio: ContainerStdio) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, stdio.input, 0)
        posix_spawn_file_actions_adddup2(&actions, stdio.output, 1)
        posix_spawn_file_actions_adddup2(&actions, stdio.error, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)  // threads of a test block signals
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var words = arguments.map { strdup($0) } + [nil]
        var pid: pid_t = 0
        let code = posix_spawn(&pid, arguments[0], &actions, &attributes, &words, environ)
        if code != 0 { throw StartFailure("start \(arguments[0]): \(Errno(rawValue: code))", code: 127) }
        self.pid = pid
        owned = SharedFD(OwnedFD(adopting: try system("pidfd_open") { clinux_pidfd_open(pid) }))
        pidfd = owned.raw
        terminal = nil
    }

    func signal(_ number: CInt) throws { try system("kill") { kill(pid, number) } }
    func pause() throws { try signal(SIGSTOP) }
    func resume() throws { try signal(SIGCONT) }

    func finish() throws -> (code: CInt, outOfMemory: Bool) {
        var status: CInt = 0
        try system("waitpid") { waitpid(pid, &status, 0) }
        return (status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F, false)
    }
}

/// A supervisor on a thread of its own, with a plain process.
private final class Held {
    let directory: TemporaryDirectory
    var run: FilePath { directory.path }
    var log: FilePath { directory.appending("log") }
    let report: StartReport?
    private var thread = pthread_t()

    init(
        _ arguments: [String],
        input: SupervisorJob.Input = .none,
        client: CInt? = nil,
        clientOptions: AttachOptions = [],
        onExit: [String] = []
    ) throws {
        directory = try TemporaryDirectory()
        var pipe: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&pipe) }
        let output = OwnedFD(adopting: pipe[0])
        let job = SupervisorJob(
            id: "test",
            runDirectory: directory.path,
            log: LogOptions(path: directory.appending("log")),
            input: input,
            client: client,
            clientOptions: clientOptions,
            report: pipe[1],
            onExit: onExit,
            launch: ["arguments": .strings(arguments)]
        )
        final class Box {
            let job: SupervisorJob
            init(_ job: SupervisorJob) { self.job = job }
        }
        let box = Unmanaged.passRetained(Box(job)).toOpaque()
        let code = pthread_create(
            &thread,
            nil,
            { raw in
                guard let raw else { return nil }
                let job = Unmanaged<Box>.fromOpaque(raw).takeRetainedValue().job
                Supervisor.run(job) { job, stdio in
                    guard let stdio else { throw StartFailure("no terminal here") }
                    return try PlainProcess(job.launch["arguments"]?.strings ?? [], stdio)
                }
                return nil
            },
            box
        )
        if code != 0 { throw SystemError("pthread_create", nil, Errno(rawValue: code)) }
        report = StartReport(try Files.contents(of: output.raw, limit: 65_536))
    }

    func join() { pthread_join(thread, nil) }

    func lines() throws -> [String] {
        var lines: [String] = []
        try LogReader(log, LogQuery()) { lines.append(String(decoding: $0.bytes, as: UTF8.self)) }.read()
        return lines
    }
}

/// Everything that comes over a connection: the output of both kinds, and the end.
private func drain(_ connection: ControlConnection) throws -> (out: [UInt8], err: [UInt8], end: ExitRecord?) {
    var (out, err): ([UInt8], [UInt8]) = ([], [])
    while let message = try connection.receive() {
        switch message {
        case .output(.stdout, let bytes): out += bytes
        case .output(.stderr, let bytes): err += bytes
        case .ended(let record): return (out, err, record)
        default: break
        }
    }
    return (out, err, nil)
}

@Suite(.serialized) struct SupervisorLoopTests {
    @Test func aPlainRunIsLoggedAndRecorded() throws {
        let held = try Held(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
        guard case .started = held.report else {
            Issue.record("\(String(describing: held.report))")
            return
        }
        held.join()
        #expect(Set(try held.lines()) == ["out\n", "err\n"])
        let record = try #require(try ExitRecord.read(held.run))
        #expect(record.code == 3 && !record.outOfMemory)
        #expect(try Files.status(held.directory.appending(RunFile.control)) == nil)
        #expect(try ContainerWait.end(held.run) == record)
    }

    @Test func aFailedStartIsReportedInOneLine() throws {
        let held = try Held(["/nonexistent"])
        guard case .failed(let message, let code) = held.report else {
            Issue.record("it started")
            return
        }
        #expect(code == 127 && message.contains("/nonexistent") && !message.contains("\n"))
        held.join()
        #expect(try ExitRecord.read(held.run) == nil)
    }

    @Test func aSignalEndsItWith128AndMore() throws {
        let held = try Held(["/bin/sleep", "100"])
        let connection = try #require(try ControlConnection.connect(held.run))
        #expect(try connection.status()["running"]?.bool == true)
        try connection.signal(SIGTERM)
        #expect(try ContainerWait.end(held.run)?.code == 143)
        held.join()
    }

    @Test func theClientOfTheJobMissesNothing() throws {
        let pair = try ControlConnection.pair()
        let theirs = try pair.theirs.duplicate().release()
        let connection = pair.connection()
        let held = try Held(
            ["/bin/cat"],
            input: .once,
            client: theirs,
            clientOptions: [.stdin, .stdout, .stderr, .lossless]
        )
        let bytes = [UInt8]("hello\n".utf8)
        try connection.send(.input(bytes))
        try connection.send(.endInput)
        let (out, _, end) = try drain(connection)
        #expect(out == bytes && end?.code == 0)
        held.join()
    }

    @Test func aMegabytePassesBothWaysThroughALosslessClient() throws {
        let pair = try ControlConnection.pair()
        let theirs = try pair.theirs.duplicate().release()
        let connection = pair.connection()
        let held = try Held(
            ["/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"],
            client: theirs,
            clientOptions: [.stdout, .lossless]
        )
        usleep(300_000)  // more is waiting than the socket and the queue hold
        let (out, _, end) = try drain(connection)
        #expect(out.count == 3_000_000 && end?.code == 0)
        held.join()
    }

    @Test func aSlowClientHoldsUpNobody() throws {
        let held = try Held(
            ["/bin/sh", "-c", "read x; head -c 3000000 /dev/zero | tr '\\0' x"],
            input: .open
        )
        let slow = try #require(try ControlConnection.connect(held.run))
        try slow.request(.attach([.stdout]))
        let other = try #require(try ControlConnection.connect(held.run))
        try other.request(.attach([.stdin, .stdout, .lossless]))
        try other.send(.input([0x0A]))
        let (out, _, end) = try drain(other)
        #expect(out.count == 3_000_000 && end?.code == 0)
        let (some, _, none) = try drain(slow)
        #expect(some.count < 3_000_000 && none == nil)
        held.join()
        #expect(try held.lines().map(\.utf8.count).reduce(0, +) == 3_000_000)
    }

    @Test func inputStaysOpenUnlessItIsOnce() throws {
        let held = try Held(["/bin/cat"], input: .open)
        for text in ["one\n", "two\n"] {
            let connection = try #require(try ControlConnection.connect(held.run))
            try connection.request(.attach([.stdin, .stdout]))
            try connection.send(.input(Array(text.utf8)))
            try connection.send(.endInput)
            guard case .output(.stdout, let bytes) = try connection.receive() else {
                Issue.record("no output")
                return
            }
            #expect(bytes == Array(text.utf8))
        }
        let connection = try #require(try ControlConnection.connect(held.run))
        try connection.signal(SIGKILL)
        #expect(try ContainerWait.end(held.run)?.code == 137)
        held.join()
    }

    /// It ends whenever the container does, between any two calls of who waits for that.
    @Test func aSupervisorThatHasEndedIsHeardOfByReceiving() throws {
        var ends: [CInt] = [-1, -1]
        try system("socketpair") { clinux_seqpacket_pair(&ends) }
        let connection = ControlConnection(socket: OwnedFD(adopting: ends[0]))
        close(ends[1])
        try connection.send(.wait)
        #expect(try connection.receive() == nil)
        #expect(throws: StartFailure.self) { try connection.signal(SIGTERM) }
    }

    @Test func whoSendsRubbishIsSentAwayAndTheRestGoesOn() throws {
        let held = try Held(["/bin/sleep", "100"])
        var generator = SplitMix(seed: 5)
        for _ in 0..<200 {
            let hostile = try #require(try ControlConnection.connect(held.run))
            let size = Int.random(in: 0...70_000, using: &generator)
            var bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if size > 0, bytes[0] == UInt8(ascii: "s") { bytes[0] = 0 }  // not a signal by chance
            _ = bytes.withUnsafeBytes { clinux_send(hostile.socket.raw, $0.baseAddress, $0.count, 0) }
        }
        let silent = (0..<300).compactMap { _ in try? ControlConnection.connect(held.run) }
        #expect(silent.count == 300)
        let connection = try #require(try ControlConnection.connect(held.run))
        try connection.signal(SIGKILL)
        held.join()
        #expect(try ExitRecord.read(held.run)?.code == 137)
    }

    @Test func theProgramOfTheEndRunsBeforeTheEndIsTold() throws {
        let marker = try TemporaryDirectory()
        let file = marker.appending("ran")
        let held = try Held(
            ["/bin/sh", "-c", "read x"],
            input: .open,
            onExit: ["/bin/sh", "-c", "sleep 0.2; touch \(file)"]
        )
        let connection = try #require(try ControlConnection.connect(held.run))
        try connection.signal(SIGTERM)
        #expect(try ContainerWait.end(held.run)?.code == 143)
        #expect(try Files.status(file) != nil)
        held.join()
    }

    @Test func outputThatALeftOverProcessHoldsOpenDoesNotKeepTheEndBack() throws {
        let held = try Held(["/bin/sh", "-c", "sleep 30 & echo x"])
        #expect(try ContainerWait.end(held.run)?.code == 0)
        held.join()
        #expect(try held.lines() == ["x\n"])
    }

    @Test func aRunDirectoryOfAnyLengthWorks() throws {
        let directory = try TemporaryDirectory()
        var path = directory.path
        for _ in 0..<6 { path = path.appending(String(repeating: "d", count: 60)) }
        try Files.makeDirectories(path)
        let opened = try Files.open(path, O_RDONLY | O_DIRECTORY)
        let listener = try ControlSocket.listen(below: opened.raw)
        #expect(try Files.status(path.appending(RunFile.control))?.mode == 0o600)
        #expect(try ControlConnection.connect(path) != nil)
        try listener.close()
        #expect(try ControlConnection.connect(path) == nil)
    }
}
