// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import SystemPackage
import TestGates
import Testing

/// `cp` and `export`, also of containers that run and of those whose ids are others outside.
@Suite(.requires(.root, .overlay, .program("busybox")), .serialized)
struct CopyTests {
    let strata: Strata
    private let place: String

    init() throws {
        strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        place = strata.directory.path.string
        try Program.shell(
            "mkdir \(place)/volume \(place)/in; echo v > \(place)/volume/v; echo 1 > \(place)/in/file"
        )
    }

    private func failure(_ outcome: Outcome) -> String {
        outcome.code == 1 ? outcome.errorText : "\(outcome)"
    }

    @Test(.requires(.userNamespaces), arguments: [["--userns"], ["--init"]])
    func runningContainerIsReadWithoutWhatIsMountedInIt(_ flags: [String]) throws {
        let command =
            ["run", "-d", "--name", "work", "-v", "\(place)/volume:/volume", "--tmpfs", "/fast"] + flags
        let script = "echo 1 > /fast/f; mkdir /made; echo 2 > /made/f; chown -R user /made; sleep 1000"
        let started = try Program.run(
            [Strata.program] + strata.flags + command + ["busybox", "sh", "-c", script]
        )
        #expect(started.code == 0, "\(started)")
        try Program.shell(
            "for i in $(seq 600); do \(exec) stat -c %u /made/f | grep -qx 1000 && exit 0; sleep 0.1; done; exit 1"
        )

        try strata.ok("export", "-o", "\(place)/running.tar", "work")
        try strata.ok("cp", "work:/.", "\(place)/whole")
        #expect(try Program.shell("cat \(place)/whole/volume/v \(place)/whole/made/f").text == "v\n2\n")
        #expect(
            try Program.shell("cd \(place)/whole; find proc sys dev -mindepth 1")
                .text == ""
        )
        #expect(failure(try strata("cp", "work:/proc/version", place)).contains("No such file"))
        try strata.ok("cp", "-a", "work:/made", "\(place)/owned")
        #expect(
            try Program.shell("stat -c %u:%g \(place)/owned \(place)/owned/f").lines == ["1000:0", "1000:0"]
        )
        #expect(try strata.ok("export", "work").output.count > 1 << 20)

        // Owners are the container's, whatever they are outside.
        try strata.ok("cp", "\(place)/in", "work:/in")
        try Program.shell("chown -R 1000:2000 \(place)/in")
        try strata.ok("cp", "-a", "\(place)/in/.", "work:/made")
        try Program.shell("tar -C \(place) -cf - in | \(words("cp", "-", "work:/fast"))")
        let owners = try strata.ok(
            "exec",
            "work",
            "stat",
            "-c",
            "%u:%g",
            "/in/file",
            "/made/file",
            "/fast/in"
        )
        #expect(owners.lines == ["0:0", "1000:2000", "1000:2000"])
        if flags == ["--userns"] {
            try Program.shell("chown 3000000:0 \(place)/in/file")
            #expect(
                failure(try strata("cp", "-a", "\(place)/in/file", "work:/")).contains(
                    "has no owner 3000000:0"
                )
            )
        }
        try strata.ok("exec", "work", "rm", "-r", "/in", "/made/file")

        try strata.ok("stop", "-t", "0", "work")
        try strata.ok("export", "-o", "\(place)/stopped.tar", "work")
        // What was written and removed again has left its time.
        let list = "tar -tvf \(place)/%.tar --numeric-owner | grep -vE ' (\\./|made/)$'"
        let lists = try ["running", "stopped"].map { name in
            try Program.shell(list.split(separator: "%").joined(separator: name)).text
        }
        #expect(lists[0] == lists[1])
        #expect(!lists[0].contains(" proc/self"), "\(lists[0].prefix(2000))")
    }

    private var exec: String { words("exec", "work") }

    private func words(_ arguments: String...) -> String {
        ([Strata.program] + strata.flags + arguments).joined(separator: " ")
    }

    /// As Docker has it: a slash at the end of a source asks for a directory; a link as the target is written through.
    @Test func linksAndSlashes() throws {
        let script =
            "mkdir /real; echo r > /real/f; ln -s real /link; ln -s real/f /flink; ln -s made /dangling"
        try strata.ok("run", "--name", "work", "busybox", "sh", "-c", script)
        try strata.ok("cp", "work:/link", "\(place)/a")
        try strata.ok("cp", "work:/link/", "\(place)/b")
        #expect(try Program.shell("readlink \(place)/a; cat \(place)/b/f").text == "real\nr\n")
        #expect(failure(try strata("cp", "work:/real/f/", place)).contains("Not a directory"))

        try strata.ok("cp", "\(place)/in/file", "work:/flink")
        try strata.ok("cp", "\(place)/in/file", "work:/dangling")
        try Program.shell("ln -s in \(place)/inlink")
        try strata.ok("cp", "\(place)/inlink/", "work:/new")
        try strata.ok("export", "-o", "\(place)/out.tar", "work")
        #expect(try Program.shell("tar xOf \(place)/out.tar real/f made new/file").text == "1\n1\n1\n")
        #expect(try Program.shell("tar tvf \(place)/out.tar flink dangling | grep -c '^l'").line == "2")
        #expect(failure(try strata("cp", "\(place)/in/file", "work:/none/")).contains("no such directory"))
    }

    /// The disk that is full is the host's, so the store's is not what the user hears of.
    @Test func fullDiskOfTheHost() throws {
        try strata.ok("create", "--name", "work", "busybox")
        let outcome = try Program.run([
            "unshare", "-m", "--propagation", "private", "sh", "-c",
            "mount -t tmpfs -o size=64k tmpfs \(place)/in && \(words("cp", "work:/bin/busybox", "\(place)/in"))",
        ])
        #expect(
            failure(outcome).hasSuffix(
                "No space left on device; free space there, or copy to another place\n"
            )
        )
        let list = try Program.run(["sh", "-c", "\(words("images")) > /dev/full"])
        #expect(failure(list) == "strata: write standard output: No space left on device\n")
    }
}
