// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// SIGKILL at one system call after another: the store takes the next command and loses nothing.
@Suite(.requires(.root, .overlay, .program("busybox"), .program("strace")), .serialized)
struct KillTests {
    /// A command that is killed, and what holds whenever that was.
    struct Victim: CustomTestStringConvertible, Sendable {
        var verb: [String]
        /// Shell before each try, whatever came of the last.
        var prepare: String
        /// Shell after the kill, as a user would go on.
        var next: String
        /// Whether the kill may hit what the command started, too.
        var withChildren = false

        var testDescription: String {
            verb.joined(separator: " ") + (withChildren ? " and its children" : "")
        }
    }

    static let run = Victim(
        verb: ["run", "--rm", "busybox", "/bin/sh", "-c", ": $MARK; echo hi >/f"],
        prepare: "strata load -q -i $IMAGES",
        next: "strata run --rm busybox /bin/true"
    )

    static let victims: [Victim] = [
        Victim(
            verb: ["load", "-q", "-i", "$IMAGES"],
            prepare: "strata system prune -a -f",
            next: "strata load -q -i $IMAGES; [ $(strata run --rm made cat /d/f) = one ]"
        ),
        run,
        Victim(verb: run.verb, prepare: run.prepare, next: run.next, withChildren: true),
        Victim(
            verb: ["commit", "work", "first"],
            prepare: """
                strata load -q -i $IMAGES
                strata rmi first || true
                strata rm work || true
                strata run --name work busybox sh -c 'mkdir /d; echo two >/d/f; rm /etc/group'
                """,
            next: """
                strata commit work second
                [ $(strata run --rm second cat /d/f) = two ]
                if strata run --rm first true; then [ $(strata run --rm first cat /d/f) = two ]; fi
                """
        ),
        Victim(
            verb: ["rm", "work"],
            prepare:
                "strata load -q -i $IMAGES; strata run --name work busybox sh -c 'mkdir /d; echo a >/d/f'",
            next: "strata rm work || ! strata inspect work"
        ),
        Victim(
            verb: ["rmi", "busybox", "made"],
            prepare: "strata load -q -i $IMAGES",
            next: "strata load -q -i $IMAGES; [ $(strata run --rm made cat /d/f) = one ]"
        ),
        Victim(
            verb: ["system", "prune", "-a", "-f"],
            prepare: "strata load -q -i $IMAGES; strata run --name work busybox rm /etc/group",
            next: "strata load -q -i $IMAGES; [ $(strata run --rm made cat /d/f) = one ]"
        ),
    ]

    @Test(arguments: victims)
    func killedAtSystemCalls(_ victim: Victim) throws {
        let sweep = try KillSweep(victim)
        let isFull = getenv("STRATA_TEST_FULL") != nil
        let points = try sweep.points()
        #expect(points.count > 100)
        // Evenly spread from a random start; the whole list in the long form.
        let step = isFull ? 1 : max(1, points.count / 12)
        let start = Int.random(in: 0..<step)
        print("kill sweep of \(victim.testDescription): \(points.count) calls, every \(step)th from \(start)")
        var kills = 0
        for index in stride(from: start, to: points.count, by: step) {
            let outcome = try sweep.kill(at: points[index])
            if outcome.code == 137 { kills += 1 }
            let complaint = try sweep.complaint()
            #expect(complaint == nil, "killed at \(points[index]): \(complaint ?? "")\n\(outcome)")
        }
        // The calls of a run differ a little: not each point is reached.
        #expect(kills > 6)
        #expect(try sweep.cgroupsLeft() == [])
    }
}

/// One store on which a command is killed again and again.
private final class KillSweep {
    private let victim: KillTests.Victim
    private let strata: Strata
    private let mark: String
    private let cgroups: Set<String>

    init(_ victim: KillTests.Victim) throws {
        self.victim = victim
        strata = try Strata(driver: "overlay2")
        mark = "mark-\(UInt64.random(in: 0...UInt64.max))"
        cgroups = try Self.cgroups()
        try strata.importBusybox()
        try strata.ok("run", "--name", "source", "busybox", "sh", "-c", "mkdir /d; echo one >/d/f")
        try strata.ok("commit", "source", "made")
        try strata.ok("rm", "source")
        try strata.ok("save", "-o", images, "busybox", "made")
    }

    private var images: String { strata.directory.appending("images.tar").string }

    /// Shell in which `strata` works on the store.
    private func shell(_ script: String) throws -> Outcome {
        let flags = strata.flags.joined(separator: " ")
        return try Program.run([
            "bash", "-uc",
            "IMAGES=\(images) MARK=\(mark); strata() { \(Strata.program) \(flags) \"$@\"; }; set -e\n\(script)",
        ])
    }

    private var command: [String] {
        [Strata.program] + strata.flags
            + victim.verb.map { $0 == "$IMAGES" ? images : $0.replacing("$MARK", with: mark) }
    }

    private func traced(_ options: [String]) throws -> Outcome {
        let follow = victim.withChildren ? ["-f"] : []
        return try Program.run(["strace"] + follow + options + command)
    }

    /// The system calls that the command makes, each with how often it was made before.
    func points() throws -> [String] {
        guard try shell(victim.prepare).code == 0 else {
            throw UnexpectedOutcome(description: "\(try shell(victim.prepare))")
        }
        let record = strata.directory.appending("record").string
        let outcome = try traced(["-o", record])
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        // The program's start is before its first own call; an exiting process cannot be killed.
        return try Program.shell(
            #"""
            sed -nE 's/^([0-9]+ +)?([a-z0-9_]+)\(.*/\1\2/p' \#(record) |
                awk '{ print $NF " " ++count[$0] }' | grep -vE '^(execve|exit|exit_group|rt_sigreturn) ' |
                awk '!seen[$0]++'
            """#
        ).lines
    }

    func kill(at point: String) throws -> Outcome {
        let prepared = try shell(victim.prepare)
        guard prepared.code == 0 else { throw UnexpectedOutcome(description: "\(prepared)") }
        let words = point.split(separator: " ")
        return try traced([
            "-o", "/dev/null", "-e", "inject=\(words[0]):signal=SIGKILL:when=\(words[1])",
        ])
    }

    /// What is not as it has to be after a kill.
    func complaint() throws -> String? {
        let next = try shell(victim.next)
        if next.code != 0 { return "the next command failed: \(next)" }
        let root = strata.root.string
        let looked = try shell(
            #"""
            strata system prune -f
            strata system df | grep -Eq '^Left over +0 ' || { strata system df; exit 1; }
            left=$(find \#(root)/drivers/*/staging \#(root)/drivers/*/trash -mindepth 1 -maxdepth 1)
            [ -z "$left" ] || { echo "left over: $left"; exit 1; }
            strata system check || exit 1
            ! grep \#(root) /proc/self/mountinfo || exit 1
            rows=$(strata ps -aq --no-trunc | sort)
            [ "$(ls \#(root)/containers)" = "$rows" ] || { echo "directories of containers are left"; exit 1; }
            run=$(find \#(strata.runRoot.string) -mindepth 3 -maxdepth 3)
            [ -z "$run" ] || { echo "left in the run directory: $run"; exit 1; }
            for lock in $(ls \#(root)/locks); do
                case $lock in
                    store) ;;
                    *) [ -d \#(root)/containers/$lock ] || [ -d \#(root)/drivers/overlay2/layers/$lock ] ||
                        { echo "left lock $lock"; exit 1; } ;;
                esac
            done
            """#
        )
        if looked.code != 0 { return "\(looked.text)\(looked.errorText)" }
        // What was killed with a process may need a moment to go.
        for _ in 0..<40 where try Program.run(["pgrep", "-f", mark]).code == 0 { usleep(50_000) }
        let processes = try Program.run(["pgrep", "-af", mark])
        return processes.code == 0 ? "processes are left: \(processes.text)" : nil
    }

    /// Cgroups without a process that came since the start and stay.
    func cgroupsLeft() throws -> [String] {
        func empty() throws -> Set<String> {
            try Self.cgroups().subtracting(cgroups).filter {
                ((try? Files.contents(FilePath("\($0)/cgroup.procs"))) ?? [1]).isEmpty
            }
        }
        var left = try empty()
        for _ in 0..<20 where !left.isEmpty {
            usleep(100_000)
            left.formIntersection(try empty())
        }
        return left.sorted()
    }

    private static func cgroups() throws -> Set<String> {
        Set(
            try Program.run([
                "bash", "-c",
                "find /sys/fs/cgroup/strata /sys/fs/cgroup/*/strata -mindepth 1 -maxdepth 1 -type d 2>/dev/null",
            ]).lines
        )
    }
}
