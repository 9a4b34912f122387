// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import SystemPackage
import TestGates
import Testing

/// Containers as a user starts them, on each driver.
@Suite(.requires(.root, .overlay, .path("/dev/fuse"), .program("busybox")), .serialized)
struct RunTests {
    static let drivers = ["overlay2", "unionfs", "vfs"]

    @Test(arguments: drivers)
    func printsAndGivesTheExitCode(driver: String) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        let outcome = try strata("run", "--rm", "busybox", "/bin/sh", "-c", "echo out; echo err >&2; exit 7")
        #expect(outcome.text == "out\n")
        #expect(outcome.errorText == "err\n")
        #expect(outcome.code == 7)
        // The first process of a pid namespace cannot kill itself; its child can be killed.
        #expect(try strata("run", "--rm", "--init", "busybox", "/bin/sh", "-c", "kill -9 $$").code == 137)
        #expect(try strata("run", "--rm", "busybox", "no-such-program").code == 127)
        #expect(try strata("run", "--rm", "busybox", "/etc/passwd").code == 126)
        #expect(try strata("run", "--rm", "no-such-image", "true").code == 125)
        #expect(try strata.ok("ps", "-aq").text == "")
    }

    @Test
    func dryRunPrintsTheStepsAndMakesNothing() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let source = strata.root.appending("not-there").string
        let steps = try strata.ok("run", "--dry-run", "-v", "\(source):/data", "busybox", "/bin/true").text
        for step in ["mount \(source) on /data", "resolv.conf on /etc/resolv.conf", "execute /bin/true"] {
            #expect(steps.contains(step), "\(step) in\n\(steps)")
        }
        #expect(try strata.ok("ps", "-aq").text == "")
        #expect(try Files.status(FilePath(source)) == nil)
    }

    @Test(arguments: drivers)
    func diffAndCommit(driver: String) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        try strata.ok(
            "run",
            "--name",
            "work",
            "busybox",
            "/bin/sh",
            "-c",
            "echo new > /greeting; echo more >> /etc/group; rm /home/../etc/passwd; mkdir /srv; touch /srv/x"
        )
        let expected = "C /etc\nC /etc/group\nD /etc/passwd\nA /greeting\nA /srv\nA /srv/x\n"
        #expect(try strata.ok("diff", "work").text == expected)
        let id = try strata.ok("commit", "-m", "changed", "work", "work:1").line
        #expect(id.hasPrefix("sha256:"))
        #expect(
            try strata.ok("run", "--rm", "work:1", "/bin/cat", "/greeting", "/etc/group").text.hasSuffix(
                "more\n"
            )
        )
        #expect(try strata("run", "--rm", "work:1", "/bin/cat", "/etc/passwd").code == 1)
        // The container lives on: it can be started again and committed again, with another result.
        try strata.ok("start", "work")
        try strata.ok("wait", "work")
        #expect(try strata.ok("commit", "work", "work:2").line != id)
    }

    /// An image of the changes alone would have no layers to stand on.
    @Test(arguments: drivers)
    func commitNeedsTheImageOfTheContainer(driver: String) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        let archive = strata.directory.appending("busybox.tar").string
        try strata.ok("save", "-o", archive, "busybox")
        try strata.ok("run", "--name", "work", "busybox", "/bin/sh", "-c", "echo new > /greeting")
        try strata.ok("rmi", "-f", "busybox")
        let refused = try strata("commit", "work", "work:1")
        #expect(refused.code == 1 && refused.errorText.contains("No such image"), "\(refused)")
        #expect(try strata.ok("images", "-aq").text == "")
        try strata.ok("load", "-q", "-i", archive)
        try strata.ok("commit", "work", "work:1")
        #expect(try strata.ok("run", "--rm", "work:1", "/bin/cat", "/greeting").line == "new")
    }

    @Test
    func layerDigestsAreTheSameOnAllDrivers() throws {
        let strata = try Strata()
        try strata.importBusybox()
        var layers: Set<String> = []
        for driver in Self.drivers {
            let script = """
                echo a > /a; ln /a /b; ln -s a /c; mkfifo /d; rm -r /home; mkdir -p /e/f; chmod 1777 /e; chown 70000:80000 /e/f
                touch -d '1960-01-01 00:00:00' /a; touch -h -d '2001-02-03 04:05:06' /e/f /e /c /d /etc /
                """
            let flags = [
                "--root", strata.root.string, "--run-root", strata.runRoot.string, "--storage-driver", driver,
            ]
            let run = try Program.run(
                [Strata.program] + flags + [
                    "run", "--name", "c-\(driver)", "busybox", "/bin/sh", "-ec", script,
                ]
            )
            #expect(run.code == 0, "\(run)")
            try strata.ok("commit", "c-\(driver)", "r:\(driver)")
            layers.insert(try strata.ok("inspect", "--format", "{{json .RootFS.Layers}}", "r:\(driver)").line)
        }
        #expect(layers.count == 1, "\(layers)")
    }

    @Test
    func limitsAreInForce() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let killed = try strata(
            "run",
            "--rm",
            "-m",
            "16m",
            "busybox",
            "/bin/sh",
            "-c",
            "x=a; while :; do x=$x$x; done"
        )
        #expect(killed.code == 137)
        let forks = try strata(
            "run",
            "--rm",
            "--pids-limit",
            "5",
            "busybox",
            "/bin/sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8; do sleep 2 & done; wait"
        )
        #expect(forks.errorText.contains("fork"))
    }

    @Test
    func namespacesAndIdentity() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        func sh(_ flags: [String], _ script: String) throws -> String {
            let all =
                [Strata.program] + strata.flags + ["run", "--rm"] + flags + [
                    "busybox", "/bin/sh", "-c", script,
                ]
            let outcome = try Program.run(all)
            #expect(outcome.code == 0, "\(outcome)")
            return outcome.text
        }
        #expect(try sh(["-h", "web"], "hostname; cat /etc/hostname") == "web\nweb\n")
        #expect(try sh([], "echo $$") == "1\n")
        #expect(
            try sh(["-u", "user", "-w", "/home"], "id -u; id -G; pwd; echo $HOME")
                == "1000\n1000 2000\n/home\n/home\n"
        )
        #expect(try sh(["-e", "A=b", "-e", "PATH=/bin"], "echo $A $PATH") == "b /bin\n")
        let twice = ["-e", "A=b", "-e", "A", "-e", "B=1", "-e", "B=2"]
        #expect(try sh(twice, "echo ${A-none} $B") == "none 2\n")
        let many = (0..<40).flatMap { ["-e", "V\($0 % 36)=\($0)"] } + ["-e", "V9"]
        #expect(try sh(many, "echo $V0 $V3 $V4 ${V9-none} $V35") == "36 39 4 none 35\n")
        #expect(try sh(["--network", "none"], "cd /sys/class/net && echo *") == "lo\n")
        #expect(try sh(["--read-only"], "touch /x 2>/dev/null || echo refused") == "refused\n")
        #expect(try sh(["--init"], "cat /proc/1/comm") != "sh\n")
        #expect(try sh(["--cap-drop", "ALL"], "grep CapEff /proc/self/status").contains("0000000000000000"))
        #expect(try sh([], "grep Seccomp: /proc/self/status").contains("2"))
        #expect(try sh(["--entrypoint", "/bin/echo"], "x") == "/bin/sh -c x\n")
    }

    @Test(arguments: drivers)
    func userNamespaceSeesTheSameTree(driver: String) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        try strata.ok(
            "run",
            "--name",
            "base",
            "busybox",
            "/bin/sh",
            "-c",
            "mkdir -p /d/sub; echo 1 > /d/old; echo 2 > /d/sub/old; echo 3 > /gone"
        )
        try strata.ok("commit", "base", "base")
        // A directory removed and made anew must stay opaque inside a user namespace (user.overlay.opaque).
        try strata.ok(
            "run",
            "--name",
            "next",
            "base",
            "/bin/sh",
            "-c",
            "rm -r /d /gone; mkdir /d; echo new > /d/new"
        )
        try strata.ok("commit", "next", "next")
        for flags in [[], ["--userns"]] {
            let all =
                [Strata.program] + strata.flags + ["run", "--rm"] + flags + [
                    "next", "/bin/sh", "-c", "ls /d; ls /gone; stat -c %u /d",
                ]
            let outcome = try Program.run(all)
            #expect(outcome.text == "new\n0\n", "\(outcome)")
        }
        let write = try strata(
            "run",
            "--name",
            "mapped",
            "--userns",
            "next",
            "/bin/sh",
            "-c",
            "echo x > /x; rm /d/new; cat /proc/self/uid_map"
        )
        #expect(write.code == 0, "\(write)")
        #expect(!write.text.contains("4294967295"))
        #expect(try strata.ok("diff", "mapped").text == "C /d\nD /d/new\nA /x\n")
    }
}
