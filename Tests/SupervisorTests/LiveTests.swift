// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

@testable import Supervisor

/// A busybox container held by the real strata-supervisor.
private final class LiveContainer {
    let directory = try? TemporaryDirectory()
    let run: FilePath
    let log: FilePath
    let started: SupervisorStart.Started
    let connection: ControlConnection?

    init(
        _ script: String,
        input: SupervisorJob.Input = .none,
        attached: AttachOptions? = nil,
        change: (inout Spec) -> Void = { _ in }
    ) throws {
        guard let directory else { throw StartFailure("no temporary directory") }
        run = directory.appending("run")
        log = directory.appending("log")
        try Files.makeDirectory(run)
        let root = directory.appending("rootfs")
        for name in ["", "bin", "proc", "sys", "dev", "tmp"] {
            try Files.makeDirectory(root.appending(name), mode: 0o755)
        }
        try Files.replace(root.appending("bin/busybox"), with: Files.contents("/bin/busybox"), mode: 0o755)
        for name in ["sh", "sleep", "cat", "stty", "dd"] {
            try system("symlink") { symlink("busybox", root.appending("bin/\(name)").string) }
        }
        var spec = SpecDefaults.container()
        spec.process.args = ["/bin/sh", "-c", script]
        change(&spec)
        let mount = try DetachedMount.clone(root, below: AT_FDCWD)
        var job = SupervisorJob(
            id: "live",
            runDirectory: run,
            log: LogOptions(path: log),
            input: input,
            held: [mount.raw],
            launch: [
                "spec": spec.json, "mount": .integer(mount.raw),
                "cgroup": .string(
                    "/strata-test/\(getpid())-\(mount.raw)-\(UInt32.random(in: 0...UInt32.max))"
                ),
            ]
        )
        let program = try Self.programs.appending("strata-supervisor")
        if let attached {
            let pair = try ControlConnection.pair()
            job.client = pair.theirs.raw
            job.clientOptions = attached
            started = try SupervisorStart.start(program, job)
            connection = pair.connection()
        } else {
            started = try SupervisorStart.start(program, job)
            connection = nil
        }
    }

    /// Where the programs are: beside the tests, unless the environment says otherwise.
    private static var programs: FilePath {
        get throws {
            if let directory = getenv("STRATA_BIN_DIR") { return FilePath(String(cString: directory)) }
            let tests = String(decoding: try Files.readLink("/proc/self/exe"), as: UTF8.self)
            return FilePath(tests).removingLastComponent()
        }
    }

    deinit {
        kill(started.supervisor, SIGKILL)
        var status: CInt = 0
        waitpid(started.supervisor, &status, 0)
    }

    func lines() throws -> [String] {
        var lines: [String] = []
        try LogReader(log, LogQuery()) { lines.append(String(decoding: $0.bytes, as: UTF8.self)) }.read()
        return lines
    }
}

@Suite(.requires(.root, .path("/bin/busybox")), .serialized)
struct LiveSupervisorTests {
    @Test func aContainerIsLoggedAndItsEndRecorded() throws {
        let container = try LiveContainer("echo out; echo err >&2; echo $$; exit 7")
        #expect(try ContainerWait.end(container.run)?.code == 7)
        #expect(Set(try container.lines()) == ["out\n", "err\n", "1\n"])
    }

    @Test func aMissingProgramGives127AndLeavesNothing() throws {
        #expect(throws: StartFailure.self) {
            _ = try LiveContainer("") { $0.process.args = ["/bin/nothing"] }
        }
        do {
            _ = try LiveContainer("") { $0.process.args = ["/bin/nothing"] }
        } catch let failure as StartFailure {
            #expect(failure.code == 127 && failure.description.contains("/bin/nothing"))
        }
    }

    @Test func aTerminalHasItsSizeAndFollowsIt() throws {
        let container = try LiveContainer(
            "stty size; read x; stty size; read y",
            input: .open,
            attached: [.stdin, .stdout, .lossless]
        ) {
            $0.process.terminal = true
            $0.process.consoleSize = Spec.ConsoleSize(rows: 30, columns: 100)
        }
        let connection = try #require(container.connection)
        var seen = ""
        func wait(for text: String) throws {
            while !seen.contains(text) {
                guard let message = try connection.receive() else { throw StartFailure("ended: \(seen)") }
                if case .output(_, let bytes) = message { seen += String(decoding: bytes, as: UTF8.self) }
            }
        }
        try wait(for: "30 100\r\n")
        let other = try #require(try ControlConnection.connect(container.run))
        try other.resize(WindowSize(rows: 50, columns: 132))
        try connection.send(.input([0x0D]))
        try wait(for: "50 132\r\n")
        try connection.send(.input([0x0D]))
        #expect(try ContainerWait.end(container.run)?.code == 0)
        #expect(try container.lines().joined().contains("30 100\r\n"))
    }

    @Test func pauseStopsItAndResumeGoesOn() throws {
        let container = try LiveContainer("while :; do echo x; sleep 0.01; done")
        let connection = try #require(try ControlConnection.connect(container.run))
        try connection.pause()
        #expect(try connection.status()["paused"]?.bool == true)
        // What was in the pipe gets to the log: whoever answers has read from it since the question before.
        for _ in 0..<20 { _ = try connection.status() }
        let before = try container.lines().count
        usleep(150_000)
        #expect(try container.lines().count == before)
        try connection.resume()
        #expect(try eventually { try container.lines().count > before })
        try connection.pause()
        try connection.signal(SIGKILL)
        #expect(try ContainerWait.end(container.run)?.code == 137)
    }

    @Test func memoryThatRunsOutIsNoted() throws {
        let container = try LiveContainer("dd if=/dev/zero of=/dev/null bs=64M count=4; echo survived") {
            $0.linux.resources.memory = 16 << 20
            $0.linux.resources.memorySwap = 16 << 20
        }
        #expect(try ContainerWait.end(container.run)?.outOfMemory == true)
    }

    @Test func aKilledSupervisorTakesItsContainerWithIt() throws {
        let container = try LiveContainer("sleep 1000")
        let first = OwnedFD(
            adopting: try system("pidfd_open") { clinux_pidfd_open(container.started.container) }
        )
        kill(container.started.supervisor, SIGKILL)
        var list = [pollfd(fd: first.raw, events: Int16(POLLIN), revents: 0)]
        #expect(poll(&list, 1, 120_000) == 1)
        #expect(try ContainerWait.end(container.run) == nil)
    }

    @Test func signalsOfTheStartersTerminalDoNotReachIt() throws {
        let container = try LiveContainer("trap '' HUP INT TERM; echo up; sleep 0.5; exit 5")
        #expect(getsid(container.started.supervisor) == container.started.supervisor)
        for signal in [SIGHUP, SIGINT, SIGTERM] { kill(container.started.supervisor, signal) }
        #expect(try ContainerWait.end(container.run)?.code == 5)
    }
}
