// SPDX-License-Identifier: Apache-2.0

import Glibc
import Launch
import LinuxSys
import Synchronization
import SystemPackage
import TestGates
import Testing

/// Plans without a root: the interpreter on this machine's own files.
struct LaunchTests {
    private func plan(_ steps: [LaunchStep] = [], _ words: String...) -> LaunchPlan {
        let execute = LaunchStep.execute(
            program: words[0],
            arguments: words,
            environment: ["GREETING=hello"],
            searchPath: "/usr/local/bin:/usr/bin:/bin"
        )
        return LaunchPlan(steps + [execute])
    }

    private func run(_ plan: LaunchPlan) throws -> ProcessExit {
        try plan.launch().finish().wait()
    }

    @Test func exitCodeComesBack() throws {
        #expect(try run(plan([], "sh", "-c", "exit 7")) == .exited(7))
        #expect(try run(plan([], "sh", "-c", "kill -9 $$")).code == 137)
    }

    @Test func argumentsAndEnvironmentArrive() throws {
        let script = "test \"$1\" = 'a b' && test \"$2\" = '' && test $GREETING = hello && test $# = 2"
        #expect(try run(plan([], "sh", "-c", script, "sh", "a b", "")) == .exited(0))
    }

    @Test func missingProgramIs127AndOneThatCannotRunIs126() throws {
        let missing = #expect(throws: LaunchError.self) { try run(plan([], "no-such-program")) }
        #expect(missing?.exitCode == 127)
        #expect(missing?.errno == .noSuchFileOrDirectory)
        let directory = #expect(throws: LaunchError.self) { try run(plan([], "/etc")) }
        #expect(directory?.exitCode == 126)
        let data = #expect(throws: LaunchError.self) { try run(plan([], "/etc/passwd")) }
        #expect(data?.exitCode == 126)
    }

    @Test func failingStepIsNamed() throws {
        let error = #expect(throws: LaunchError.self) {
            try run(plan([.sessionKeyring, .changeDirectory(path: "/no/such", create: false)], "true"))
        }
        #expect(error?.step == .changeDirectory(path: "/no/such", create: false))
        #expect(error?.errno == .noSuchFileOrDirectory)
        #expect(error?.exitCode == nil)
        #expect("\(try #require(error))" == "change to directory /no/such: No such file or directory")
    }

    @Test func programStartsWithCleanSignalsAndNoOtherDescriptors() throws {
        let before = signal(SIGPIPE, SIG_IGN)
        defer { signal(SIGPIPE, before) }
        let leak = try Files.open("/etc/passwd", O_RDONLY)
        let open = dup(leak.raw)  // without close-on-exec
        defer { close(open) }
        let script = """
            test "$(echo /proc/self/fd/*)" = '/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3' || exit 1
            grep -q '^SigIgn:.0*$' /proc/self/status || exit 2
            grep -q '^SigBlk:.0*$' /proc/self/status || exit 3
            """
        #expect(try run(plan([.closeRest], "bash", "-c", script)) == .exited(0))
    }

    @Test func nothingIsLeakedInTheEngine() throws {
        _ = try run(plan([], "true"))
        let directory = try Files.openDirectory("/proc/self/fd")
        let before = try Files.list(directory.raw).count
        for _ in 0..<20 {
            _ = try run(plan([], "true"))
            #expect(throws: LaunchError.self) { try run(plan([], "no-such-program")) }
        }
        // Other tests of this process open descriptors too, and close them again: a leak would be 60 or more.
        #expect(try eventually { try Files.list(directory.raw).count < before + 30 })
    }

    @Test func waitStepHoldsTheProcessUntilTold() throws {
        var pipe: [CInt] = [-1, -1]
        #expect(Glibc.pipe(&pipe) == 0)
        let reader = OwnedFD(adopting: pipe[0])
        let writer = OwnedFD(adopting: pipe[1])
        _ = fcntl(writer.raw, F_SETFD, FD_CLOEXEC)
        let launch = try plan([.wait(descriptor: reader.raw, for: "the start")], "true").launch()
        try Files.writeAll([1], to: writer.raw)
        #expect(try launch.finish().wait() == .exited(0))
    }

    @Test func secondPartBringsItsDescriptors() throws {
        var pipe: [CInt] = [-1, -1]
        #expect(Glibc.pipe(&pipe) == 0)
        let reader = OwnedFD(adopting: pipe[0])
        var writer: OwnedFD? = OwnedFD(adopting: pipe[1])
        let null = try Files.open("/dev/null", O_RDONLY)
        var launch = try LaunchPlan([.umask(0)]).launch(continues: true)
        let streams = LaunchStep.standardIO(input: null.raw, output: pipe[1], error: 2)
        try launch.proceed(plan([streams, .closeRest], "sh", "-c", "umask; ls /proc/self/fd; exit 4"))
        writer = nil
        _ = writer == nil
        let process = try launch.finish()
        let output = try Files.contents(of: reader.raw, limit: 1024)
        #expect(String(decoding: output, as: UTF8.self) == "0000\n0\n1\n2\n3\n")
        #expect(try process.wait() == .exited(4))
    }

    @Test func failingStepOfEitherPartIsNamed() throws {
        let wrong = LaunchStep.changeDirectory(path: "/no/such", create: false)
        func start(_ first: [LaunchStep], _ second: [LaunchStep]) throws {
            var launch = try LaunchPlan(first).launch(continues: true)
            usleep(20_000)  // the first part may fail before the second is sent
            try launch.proceed(plan(second, "true"))
            #expect(try launch.finish().wait() == .exited(0))
        }
        try start([.umask(0)], [.sessionKeyring])
        for (first, second) in [([.umask(0), wrong], []), ([.umask(0)], [.sessionKeyring, wrong])] {
            let error = #expect(throws: LaunchError.self) { try start(first, second) }
            #expect(error?.step == wrong)
            #expect(error?.errno == .noSuchFileOrDirectory)
        }
    }

    @Test func processWhoseSecondPartNeverComesEnds() throws {
        func begin() throws -> CInt { try LaunchPlan([.umask(0)]).launch(continues: true).pid }
        let pid = try begin()
        var status: CInt = 0
        #expect(waitpid(pid, &status, 0) == pid)
        #expect(status == 125 << 8)
    }

    @Test func initReapsAndForwards() throws {
        let script = "trap 'exit 5' TERM; echo ready >&9; while :; do sleep 0.05; done"
        var pipe: [CInt] = [-1, -1]
        #expect(Glibc.pipe(&pipe) == 0)
        let reader = OwnedFD(adopting: pipe[0])
        let writer = OwnedFD(adopting: pipe[1])
        let inner = "exec 9>&\(writer.raw); \(script)"
        let process = try plan([.stayAsInit], "bash", "-c", inner).launch().finish()
        var byte = [UInt8](repeating: 0, count: 1)
        _ = try byte.withUnsafeMutableBytes { try Files.read(reader.raw, into: $0) }
        try process.signal(SIGTERM)
        #expect(try process.wait() == .exited(5))
        #expect(try run(plan([.stayAsInit], "sh", "-c", "kill -TERM $$")).code == 143)
    }

    @Test func planPrints() {
        let plan = LaunchPlan([
            .hostname("web"),
            .mount(
                type: "tmpfs",
                source: "tmpfs",
                target: "/dev",
                attributes: [.noSetUID, .strictAccessTime],
                options: ["mode=755", "size=65536k"],
                targetKind: .directory
            ),
            .mask(path: "/proc/kcore"),
            .resourceLimit(name: "nofile", resource: 7, soft: 1024, hard: .max),
            .user(uid: 1, gid: 2, groups: [3, 4]),
            .execute(program: "sh", arguments: ["sh", "-c", "id"], environment: [], searchPath: "/bin"),
        ])
        #expect(
            plan.description == """
                1. set hostname web
                2. mount tmpfs on /dev (nosuid,strictatime,mode=755,size=65536k)
                3. mask /proc/kcore
                4. set limit nofile to 1024:unlimited
                5. become user 1:2 groups 3,4
                6. execute sh -c id
                """
        )
    }
}
