// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// `layer mount`: the one mount that stands in the caller's mount table.
@Suite(.requires(.root, .overlay), .serialized)
struct LayerMountTests {
    static let drivers = ["overlay2", "vfs"]

    /// A store, and a mount point beside it.
    struct Fixture {
        let strata: Strata
        let place: String

        init(_ driver: String) throws {
            strata = try Strata(driver: driver)
            place = strata.directory.appending("mnt").string
            try Files.makeDirectory(place)
        }

        /// Removes what a failed test left; a mount below the directory would keep it from going.
        func end() { _ = try? Program.shell("umount -l \(place) 2>/dev/null || true") }

        var isMounted: Bool {
            get throws { try Program.run(["mountpoint", "-q", place]).code == 0 }
        }
    }

    @Test(arguments: drivers)
    func writableLayerIsFilledThroughItsMount(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let base = try strata.ok("layer", "create").line
        #expect(try strata.ok("layer", "mount", base, place).line == place)
        #expect(try strata.ok("layer", "inspect", "-f", "{{.Mountpoint}}", base).line == place)
        try Program.shell(
            "mkdir \(place)/d; echo one >\(place)/d/f; cp /bin/busybox \(place)/su; chmod 4755 \(place)/su"
        )
        // Nothing that an image brings takes effect in the host's tree.
        let options = try Program.shell("findmnt -no OPTIONS \(place)").text
        #expect(options.contains("nosuid") && options.contains("nodev") && options.contains("rw"))
        for refused in [
            try strata("layer", "rm", base), try strata("layer", "seal", base),
            try strata("layer", "mount", base, place),
        ] {
            #expect(refused.code == 1 && refused.errorText.contains(base), "\(refused)")
        }
        #expect(try strata.ok("layer", "changes", base).text.contains("/d/f"))
        #expect(try strata.ok("layer", "unmount", place).line == place)
        #expect(try !fixture.isMounted)
        try strata.ok("layer", "seal", base)

        // Sealed: read-only, and others build on it meanwhile.
        try strata.ok("layer", "mount", base, place)
        #expect(try Program.run(["touch", "\(place)/new"]).code != 0)
        #expect(try Program.shell("cat \(place)/d/f").line == "one")
        let top = try strata.ok("layer", "create", base).line
        let second = strata.directory.appending("second").string
        try Files.makeDirectory(second)
        try strata.ok("layer", "mount", "--read-only", top, second)
        #expect(try Program.run(["touch", "\(second)/new"]).code != 0)
        #expect(try strata("layer", "rm", base).code == 1)
        try strata.ok("layer", "unmount", base, second)
        try strata.ok("layer", "rm", top)
        try strata.ok("layer", "rm", base)
        try expectNothingLeft(strata)
    }

    @Test(arguments: drivers)
    func wrongInputChangesNothing(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let layer = try strata.ok("layer", "create").line
        let file = strata.directory.appending("file").string
        try Program.shell("touch \(file); mkdir \(place).full; touch \(place).full/x")
        func expectRefusal(_ arguments: [String], _ text: String) throws {
            let outcome = try Program.run([Strata.program] + strata.flags + ["layer"] + arguments)
            #expect(outcome.code == 1 && outcome.errorText.contains(text), "\(outcome)")
            #expect(outcome.errorText.split(separator: "\n").count == 1, "\(outcome)")
        }
        try expectRefusal(["mount", layer, "\(place)/missing"], "no such directory")
        try expectRefusal(["mount", layer, file], "not a directory")
        try expectRefusal(["mount", layer, "\(place).full"], "not empty")
        try expectRefusal(["mount", "aaaaaaaa", place], "no such layer")
        try expectRefusal(["mount", "../../etc", place], "no such layer")
        try expectRefusal(["unmount", layer], "is not mounted")
        try expectRefusal(["unmount", place], "no layer is mounted")
        try expectRefusal(["unmount", "\(place)/missing"], "no layer is mounted")
        #expect(try !fixture.isMounted)
        try strata.ok("layer", "rm", layer)
        try expectNothingLeft(strata)
    }

    @Test(arguments: drivers)
    func busyMountStaysAndNamesItsUser(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let layer = try strata.ok("layer", "create").line
        try strata.ok("layer", "mount", layer, place)
        let sleeper = try Program.start(["sh", "-c", "cd \(place) && echo in && exec sleep 100"])
        try sleeper.waitForOutput("in")
        let isSleep = try eventually {
            try Files.contents(FilePath("/proc/\(sleeper.pid)/comm")) == Array("sleep\n".utf8)
        }
        #expect(isSleep)
        let refused = try strata("layer", "unmount", layer)
        #expect(refused.code == 1 && refused.errorText.contains("sleep (pid \(sleeper.pid))"), "\(refused)")
        #expect(try fixture.isMounted)
        sleeper.signal(SIGKILL)
        _ = try sleeper.wait()
        try strata.ok("layer", "unmount", layer)
        try strata.ok("layer", "rm", layer)
    }

    @Test(arguments: drivers)
    func unmountedByHandTheLayerIsFree(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let layer = try strata.ok("layer", "create").line
        try strata.ok("layer", "mount", layer, place)
        try Program.shell("umount \(place)")
        let isFree = try eventually {
            try strata.ok("layer", "inspect", "-f", "{{.Mountpoint}}", layer).line.isEmpty
        }
        #expect(isFree)
        #expect(try strata("layer", "unmount", layer).errorText.contains("is not mounted"))
        // Its holder lets go of the layer a moment after the record.
        #expect(try eventually { try strata("layer", "rm", layer).code == 0 })
        try expectNothingLeft(strata)
    }

    @Test(arguments: drivers)
    func killedHolderIsClearedUpAfter(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let layer = try strata.ok("layer", "create").line
        try strata.ok("layer", "mount", layer, place)
        // The holder is the process that has the layer's lock open.
        try Program.shell(
            """
            fd=$(find /proc/[0-9]*/fd -lname '*/locks/mount.\(layer)' 2>/dev/null | head -n 1 || true)
            pid=${fd#/proc/}; kill -KILL ${pid%%/*}
            flock -w 120 \(strata.root)/locks/mount.\(layer) true
            """
        )
        let next = try strata.ok("layer", "create")
        #expect(next.errorText.contains("still mounted at \(place)"), "\(next)")
        #expect(try !fixture.isMounted)
        try strata.ok("layer", "mount", layer, place)
        try strata.ok("layer", "unmount", layer)
        try strata.ok("layer", "rm", layer, next.line)
        try expectNothingLeft(strata)
    }

    /// The second write of the holder tells that the mount stands; the second of whoever asked is its complaint.
    @Test(.requires(.program("strace")), arguments: drivers)
    func holderKilledBeforeItTellsLeavesNoMount(_ driver: String) throws {
        let fixture = try Fixture(driver)
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        let layer = try strata.ok("layer", "create").line
        let record = strata.directory.appending("record").string
        let killed = try Program.run(
            ["strace", "-f", "-o", record, "-e", "trace=write,move_mount"]
                + ["-e", "inject=write:signal=SIGKILL:when=2", Strata.program] + strata.flags
                + ["layer", "mount", layer, place]
        )
        #expect(killed.code == 137, "\(killed)")
        #expect(try Program.shell("grep -c 'move_mount.*= 0$' \(record)").line == "1")
        try strata.ok("layer", "rm", layer)
        #expect(try !fixture.isMounted)
        try expectNothingLeft(strata)
    }

    @Test(.requires(.program("busybox")))
    func mountedContainerLayerDoesNotStart() throws {
        let fixture = try Fixture("overlay2")
        defer { fixture.end() }
        let (strata, place) = (fixture.strata, fixture.place)
        try strata.importBusybox()
        try strata.ok("run", "--name", "work", "busybox", "sh", "-c", "echo one >/f")
        let layer =
            try strata.ok("layer", "ls", "--format", "{{.Kind}} {{.ID}}").lines
            .first { $0.hasPrefix("container ") }?.split(separator: " ").last.map(String.init) ?? ""
        try strata.ok("layer", "mount", layer, place)
        #expect(try Program.shell("cat \(place)/f").line == "one")
        for verb in ["start", "rm"] {
            let refused = try strata(verb, "work")
            #expect(refused.code == 1 && refused.errorText.contains(place), "\(refused)")
        }
        try strata.ok("layer", "unmount", place)
        try strata.ok("rm", "work")
    }

    /// No record, and no lock but those of layers that are there.
    private func expectNothingLeft(_ strata: Strata) throws {
        let left = try Program.shell(
            "find \(strata.runRoot) -path '*/mounts/*' 2>/dev/null || true; ls \(strata.root)/locks | grep mount || true"
        ).text
        #expect(left == "")
    }
}
