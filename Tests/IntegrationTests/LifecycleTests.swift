// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// Detached containers: what holds them, what they log, how they end.
@Suite(.requires(.root, .overlay, .program("busybox")), .serialized)
struct LifecycleTests {
    private func withBusybox(_ body: (Strata) throws -> Void) throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        try body(strata)
    }

    @Test
    func detachedContainerFromStartToRemoval() throws {
        try withBusybox { strata in
            let id = try strata.ok(
                "run",
                "-d",
                "--name",
                "web",
                "busybox",
                "/bin/sh",
                "-c",
                "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
            ).line
            #expect(try eventually { try strata.ok("logs", "web").text == "up\n" })
            #expect(id.count == 64)
            #expect(try strata.ok("ps", "--format", "{{.Names}} {{.State}}").text == "web running\n")
            #expect(try strata("rm", "web").code == 1)
            #expect(try strata("run", "--name", "web", "busybox", "true").code == 125)
            #expect(try strata.ok("exec", "web", "/bin/echo", "inside").text == "inside\n")
            #expect(try strata("exec", "web", "/bin/sh", "-c", "exit 9").code == 9)
            #expect(try strata("exec", "web", "nothing-here").code == 127)
            #expect(try strata.ok("stop", "-t", "120", "web").text == "web\n")
            #expect(try strata.ok("wait", "web").text == "3\n")
            #expect(try strata.ok("logs", "web").text == "up\n")
            #expect(
                try strata.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web").text
                    == "exited 3\n"
            )
            try strata.ok("start", "web")
            #expect(try strata.ok("kill", "web").text == "web\n")
            #expect(try strata.ok("wait", "web").text == "137\n")
            #expect(try strata.ok("rm", String(id.prefix(6))).line == String(id.prefix(6)))
            #expect(try strata("inspect", "web").code == 1)
        }
    }

    @Test("A start that fails leaves the container what it was, with the reason")
    func startThatFails() throws {
        try withBusybox { strata in
            func state(_ name: String, _ fields: String...) throws -> String {
                let format = fields.map { "{{.State.\($0)}}" }.joined(separator: " ")
                return try strata.ok("inspect", "--format", format, name).line
            }
            #expect(try strata("run", "--name", "never", "busybox", "/nothing").code == 127)
            let never = "0001-01-01T00:00:00Z"
            #expect(
                try state("never", "Status", "ExitCode", "StartedAt", "FinishedAt")
                    == "created 127 \(never) \(never)"
            )
            try strata.ok("run", "--name", "once", "busybox", "/bin/sh", "-c", "/bin/busybox rm /bin/sh")
            let before = try state("once", "StartedAt", "FinishedAt")
            #expect(!before.contains(never))
            #expect(try strata("start", "once").code == 1)
            #expect(try state("once", "Status", "ExitCode") == "exited 127")
            #expect(try state("once", "StartedAt", "FinishedAt") == before)
            #expect(try state("once", "Error").contains("/bin/sh"))
        }
    }

    @Test
    func removedWhenDone() throws {
        try withBusybox { strata in
            let id = try strata.ok("run", "-d", "--rm", "busybox", "/bin/sleep", "0.3").line
            // It may be gone before somebody can wait for it.
            let waited = try strata("wait", id)
            #expect(waited.code == 0 || waited.errorText.contains("No such container"), "\(waited)")
            #expect(try eventually { try strata.ok("ps", "-aq").text.isEmpty })
        }
    }

    @Test
    func killingTheHolderEndsTheContainer() throws {
        try withBusybox { strata in
            let running = try strata.start("run", "--rm", "--name", "held", "busybox", "/bin/sleep", "1000.5")
            #expect(try eventually { try !strata.ok("ps", "-q").text.isEmpty })
            running.signal(9)
            _ = try running.wait()
            #expect(
                try eventually { try Program.run(["pgrep", "-x", "-f", "/bin/sleep 1000.5"]).code == 1 }
            )
            // The next writing command finds and clears what is left.
            try strata.ok("run", "--rm", "busybox", "/bin/true")
            #expect(try strata.ok("ps", "-aq").text == "")
        }
    }

    @Test
    func terminationIsPassedOn() throws {
        try withBusybox { strata in
            let running = try strata.start(
                "run",
                "--rm",
                "busybox",
                "/bin/sh",
                "-c",
                "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
            )
            try running.waitForOutput("ready\n")
            running.signal(15)
            let outcome = try running.wait()
            #expect(outcome.code == 5 && outcome.text == "ready\ngot\n", "\(outcome)")
        }
    }

    @Test
    func nothingIsMountedInTheHostsTable() throws {
        try withBusybox { strata in
            try strata.ok("run", "-d", "--name", "copied", "busybox", "/bin/sleep", "100")
            let mounts = try Program.shell("cat /proc/self/mountinfo").text
            #expect(!mounts.contains(strata.root.string))
            try strata.ok("rm", "-f", "copied")
        }
    }

    /// Whatever is mounted over or under a container's root would be what `exec` and set-ups inside can reach.
    @Test(.requires(.userNamespaces), arguments: ["overlay2", "vfs"], [[], ["--userns"]])
    func rootIsAllThatIsMountedAtTheRoot(_ driver: String, _ flags: [String]) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        let run = [Strata.program] + strata.flags + ["run", "-d", "--name", "held"] + flags
        #expect(try Program.run(run + ["busybox", "sleep", "1000"]).code == 0)
        let look = "ls /; awk '$5 == \"/\"' /proc/1/mountinfo | wc -l; [ /proc/1/root -ef / ] && echo same"
        let outcome = try strata.ok("exec", "held", "sh", "-c", look)
        #expect(
            outcome.lines == ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "1", "same"],
            "\(outcome)"
        )
        try strata.ok("rm", "-f", "held")
    }

    @Test
    func copiesAndExports() throws {
        try withBusybox { strata in
            let place = strata.directory.path.string
            try strata.ok("run", "--name", "copied", "busybox", "/bin/sh", "-c", "mkdir /d; echo one > /d/f")
            try strata.ok("cp", "copied:/d", "\(place)/out")
            #expect(try Program.shell("cat \(place)/out/f").text == "one\n")
            try Program.shell("echo two > \(place)/in")
            try strata.ok("cp", "\(place)/in", "copied:/d/g")
            #expect(try strata.ok("export", "copied", "-o", "\(place)/all.tar").code == 0)
            #expect(try Program.shell("tar xOf \(place)/all.tar d/g d/f").text == "one\ntwo\n")
        }
    }
}
