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
        /// Shell beside the command as long as it has not ended by itself: what it started lives on otherwise.
        var finish = ""

        var testDescription: String {
            verb.joined(separator: " ") + (withChildren ? " and its children" : "")
        }
    }

    static let run = Victim(
        verb: ["run", "--rm", "busybox", "/bin/sh", "-c", ": $MARK; echo hi >/f"],
        prepare: "strata load -q -i $IMAGES",
        next: "strata run --rm busybox /bin/true"
    )

    static let detached = Victim(
        verb: ["run", "-d", "--name", "work", "busybox", "/bin/sh", "-c", ": $MARK; echo hi >/f; sleep 0.1"],
        prepare: "strata load -q -i $IMAGES",
        next: "strata rm -f work || ! strata inspect work; strata run --rm busybox /bin/true"
    )

    static let exec = Victim(
        verb: ["exec", "work", "/bin/sh", "-c", ": $MARK; echo hi >/f"],
        prepare: "strata load -q -i $IMAGES; strata run -d --name work busybox /bin/sleep 1000",
        next: "[ $(strata exec work /bin/echo ok) = ok ]; strata rm -f work"
    )

    static let load = Victim(
        verb: ["load", "-q", "-i", "$IMAGES"],
        prepare: "strata system prune -a -f",
        next: "strata load -q -i $IMAGES; [ $(strata run --rm made cat /d/f) = one ]"
    )

    static let commit = Victim(
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
    )

    static let diff = Victim(
        verb: ["diff", "work"],
        prepare: """
            strata load -q -i $IMAGES
            strata rm work || true
            strata run --name work busybox sh -c 'mkdir /d; echo two >/d/f; rm /etc/group'
            """,
        next: "[ $(strata diff work | wc -l) = 4 ]"
    )

    static let removal = Victim(
        verb: ["rm", "work"],
        prepare: "strata load -q -i $IMAGES; strata run --name work busybox sh -c 'mkdir /d; echo a >/d/f'",
        next: "strata rm work || ! strata inspect work"
    )

    static let victims: [Victim] = [
        load,
        run,
        Victim(verb: run.verb, prepare: run.prepare, next: run.next, withChildren: true),
        detached,
        Victim(verb: detached.verb, prepare: detached.prepare, next: detached.next, withChildren: true),
        exec,
        Victim(verb: exec.verb, prepare: exec.prepare, next: exec.next, withChildren: true),
        Victim(
            verb: ["layer", "mount", "$LAYER", "$STORE.mnt"],
            prepare: "strata layer create >$STORE.layer; mkdir -p $STORE.mnt",
            next: """
                strata layer unmount $STORE.mnt || true
                strata layer rm $(cat $STORE.layer)
                """,
            withChildren: true,
            finish: "strata layer unmount $STORE.mnt"
        ),
        commit,
        removal,
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
    func killedAtSystemCalls(_ victim: Victim) async throws {
        let memory = Self.isFull ? try MemoryFileSystem() : nil
        defer { withExtendedLifetime(memory) {} }
        let place = memory?.path
        let points = try KillSweep(victim, below: place).points()
        #expect(points.count > 100)
        try await kill(victim, at: points) { try KillSweep(victim, below: place) }
    }

    /// What the btrfs driver does to its subvolumes are ioctls.
    @Test(
        .requires(.loopDevices, .filesystem("btrfs"), .program("mkfs.btrfs")),
        arguments: victims.filter { !$0.withChildren } + [diff]
    )
    func killedAtCallsOfBtrfs(_ victim: Victim) async throws {
        let place = try LoopFileSystem.shared("btrfs").path
        let points = try KillSweep(victim, driver: "btrfs", below: place).points()
            .filter { $0.hasPrefix("ioctl ") || $0.hasPrefix("symlinkat ") }
        #expect(!points.isEmpty)
        try await kill(victim, at: points) { try KillSweep(victim, driver: "btrfs", below: place) }
    }

    /// What the devicemapper driver does to its pool are ioctls, and writes that say what is being done.
    @Test(
        .requires(.deviceMapper, .program("dmsetup"), .program("thin_dump")),
        arguments: getenv("STRATA_TEST_FULL") == nil ? [commit] : victims.filter { !$0.withChildren } + [diff]
    )
    func killedAtCallsOfDeviceMapper(_ victim: Victim) async throws {
        let points = try KillSweep(victim, driver: "devicemapper").points()
            .filter { $0.hasPrefix("ioctl ") || $0.hasPrefix("write ") }
        #expect(!points.isEmpty)
        try await kill(victim, at: points) { try KillSweep(victim, driver: "devicemapper") }
    }

    private static let samples = getenv("STRATA_TEST_SAMPLES").flatMap { Int(String(cString: $0)) }
    private static let isFull = getenv("STRATA_TEST_FULL") != nil && samples == nil

    /// Kills the victim at points evenly spread from a random start; at all of them in the long form, on a store for
    /// each processor.
    private func kill(
        _ victim: Victim,
        at points: [String],
        with make: @escaping @Sendable () throws -> KillSweep
    ) async throws {
        let step = Self.isFull ? 1 : max(1, points.count / (Self.samples ?? 9))
        let start = Int.random(in: 0..<step)
        print("kill sweep of \(victim.testDescription): \(points.count) calls, every \(step)th from \(start)")
        let chosen = stride(from: start, to: points.count, by: step).map { points[$0] }
        let stores = Self.isFull ? sysconf(CInt(_SC_NPROCESSORS_ONLN)) : 1
        let kills = try await withThrowingTaskGroup { group in
            for store in 0..<stores {
                group.addTask {
                    let sweep = try make()
                    for index in stride(from: store, to: chosen.count, by: stores) {
                        try sweep.kill(at: chosen[index])
                    }
                    #expect(try sweep.cgroupsLeft() == [])
                    return sweep.kills
                }
            }
            return try await group.reduce(0, +)
        }
        // The calls of a run differ a little: even among the earlier ones there may be one that this run does not make.
        #expect(kills * 2 > chosen.count)
    }
}

/// One store on which a command is killed again and again.
private final class KillSweep {
    private let victim: KillTests.Victim
    private let strata: Strata
    private let mark: String
    private let cgroups: Set<String>

    init(_ victim: KillTests.Victim, driver: String = "overlay2", below place: FilePath? = nil) throws {
        self.victim = victim
        strata = try Strata(driver: driver, below: place)
        mark = "mark-\(UInt64.random(in: 0...UInt64.max))"
        cgroups = try Self.cgroups()
        try strata.importBusybox()
        try strata.ok("run", "--name", "source", "busybox", "sh", "-c", "mkdir /d; echo one >/d/f")
        try strata.ok("commit", "source", "made")
        try strata.ok("rm", "source")
        try strata.ok("save", "-o", images, "busybox", "made")
    }

    /// Nothing to do where there is no thin pool.
    private static let poolCheck = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .appending("Support/check-thin-pool").string

    private var images: String { strata.directory.appending("images.tar").string }

    /// Shell in which `strata` works on the store.
    private func shell(_ script: String) throws -> Outcome {
        let flags = strata.flags.joined(separator: " ")
        return try Program.run([
            "bash", "-uc",
            "IMAGES=\(images) MARK=\(mark) STORE=\(strata.root); strata() { \(Strata.program) \(flags) \"$@\"; }; set -e\n\(script)",
        ])
    }

    private var command: [String] {
        [Strata.program] + strata.flags
            + victim.verb.map { word in
                word.replacing("$IMAGES", with: images).replacing("$MARK", with: mark)
                    .replacing("$LAYER", with: layer).replacing("$STORE", with: strata.root.string)
            }
    }

    /// What the last preparation made, if it made a layer.
    private var layer: String {
        let bytes = (try? Files.contents(FilePath("\(strata.root).layer"))) ?? []
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    private func traced(_ options: [String]) throws -> Outcome {
        let follow = victim.withChildren ? ["-f"] : []
        let running = try Program.start(["strace"] + follow + options + command)
        // strace stays with the last of the processes.
        for _ in 0..<6000 where !victim.finish.isEmpty && !running.hasEnded {
            usleep(50_000)
            _ = try shell(victim.finish)
        }
        return try running.wait()
    }

    /// The system calls that the command makes, each with how often it was made before.
    func points() throws -> [String] {
        guard try shell(victim.prepare).code == 0 else {
            throw UnexpectedOutcome(description: "\(try shell(victim.prepare))")
        }
        let outcome = try traced(["-o", record])
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        if let complaint = try complaint() { throw UnexpectedOutcome(description: complaint) }
        // The program's start is before its first own call; an exiting process cannot be killed.
        return try Program.shell(
            #"""
            sed -nE 's/^([0-9]+ +)?([a-z0-9_]+)\(.*/\1\2/p' \#(record) |
                awk '{ print $NF " " ++count[$0] }' | grep -vE '^(execve|exit|exit_group|rt_sigreturn) ' |
                awk '!seen[$0]++'
            """#
        ).lines
    }

    private var record: String { strata.directory.appending("record").string }

    /// How many kills met a process.
    private(set) var kills = 0

    /// Kills the command at a point and expects the store to be as it has to be after it.
    ///
    /// A run that waits less than the recorded one makes fewer calls: then it is killed at an earlier one of them.
    func kill(at point: String) throws {
        let words = point.split(separator: " ")
        var count = words.last.flatMap { Int($0) } ?? 1
        while try !isKilled(at: "\(words[0]) \(count)"), count > 1 { count /= 2 }
    }

    /// Whether the command came to the point and was killed there.
    private func isKilled(at point: String) throws -> Bool {
        let prepared = try shell(victim.prepare)
        guard prepared.code == 0 else { throw UnexpectedOutcome(description: "\(prepared)") }
        let words = point.split(separator: " ")
        let outcome = try traced([
            "-o", record, "-e", "inject=\(words[0]):signal=SIGKILL:when=\(words[1])",
        ])
        let isKilled = try shell("grep -q 'killed by SIGKILL' \(record)").code == 0
        if isKilled { kills += 1 }
        let complaint = try complaint()
        #expect(complaint == nil, "killed at \(point): \(complaint ?? "")\n\(outcome)")
        return isKilled
    }

    /// What is not as it has to be after a kill.
    private func complaint() throws -> String? {
        let next = try shell(victim.next)
        if next.code != 0 { return "the next command failed: \(next)" }
        let root = strata.root.string
        // What was killed with a process may need a moment to go.
        let users = "find /proc/[0-9]*/fd -lname '\(root)/*' 2>/dev/null || true"
        guard try eventually({ try shell(users).text.isEmpty }) else {
            return "processes have the store open: \(try shell(users).text)"
        }
        let looked = try shell(
            #"""
            strata system prune -f
            strata system df | grep -Eq '^Left over +0 ' || { strata system df; exit 1; }
            left=$(find \#(root)/drivers/*/{staging,trash,quota} -mindepth 1 -maxdepth 1 2>/dev/null || true
                find \#(root)/drivers/*/layers -mindepth 1 -maxdepth 1 -name '*.*' | while read -r name; do
                    case $name in
                        */lineage.*) [ -d "${name/lineage./}" ] || echo "$name" ;;
                        *) echo "$name" ;;
                    esac
                done
                for reserve in \#(root)/drivers/btrfs/reserve/*; do
                    [ -d "${reserve/reserve/layers}" ] || [ ! -e "$reserve" ] || echo "$reserve"
                done)
            [ -z "$left" ] || { echo "left over: $left"; exit 1; }
            strata system check || exit 1
            ! grep "$(dirname \#(root))" /proc/self/mountinfo || exit 1
            rows=$(strata ps -aq --no-trunc | sort)
            [ "$(ls \#(root)/containers)" = "$rows" ] || { echo "directories of containers are left"; exit 1; }
            run=$(find \#(strata.runRoot.string) -mindepth 3 -maxdepth 3)
            [ -z "$run" ] || { echo "left in the run directory: $run"; exit 1; }
            for lock in $(ls \#(root)/locks); do
                case $lock in
                    store) ;;
                    *) [ -d \#(root)/containers/$lock ] || [ -e \#(root)/drivers/*/layers/$lock ] ||
                        { echo "left lock $lock"; exit 1; } ;;
                esac
            done
            \#(Self.poolCheck) \#(root)
            """#
        )
        if looked.code != 0 { return "\(looked.text)\(looked.errorText)" }
        if try eventually({ try Program.run(["pgrep", "-f", mark]).code != 0 }) { return nil }
        return "processes are left: \(try Program.run(["pgrep", "-af", mark]).text)"
    }

    /// Cgroups without a process that came since the start and stay.
    func cgroupsLeft() throws -> [String] {
        func empty() throws -> Set<String> {
            try Self.cgroups().subtracting(cgroups).filter {
                ((try? Files.contents(FilePath("\($0)/cgroup.procs"))) ?? [1]).isEmpty
            }
        }
        var left = try empty()
        _ = try eventually {
            left.formIntersection(try empty())
            return left.isEmpty
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
