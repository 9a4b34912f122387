// SPDX-License-Identifier: Apache-2.0

import JSON
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// Where a user of Docker would notice a difference; what is expected here is what Docker was seen to do.
@Suite(.requires(.root, .overlay, .program("busybox")), .serialized)
struct DockerMannerTests {
    let strata: Strata

    init() throws {
        strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
    }

    private func expect(
        _ outcome: Outcome,
        code: Int32,
        saying text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(
            outcome.code == code && outcome.errorText.contains(text)
                && outcome.errorText.split(separator: "\n").count == 1,
            "\(outcome)",
            sourceLocation: sourceLocation
        )
    }

    /// Docker gives bytes that are not UTF-8 as U+FFFD; here they can be told, and names that look like an escape too.
    @Test func changesInJSONAreExact() throws {
        try strata.ok(
            "run",
            "--name",
            "work",
            "busybox",
            "sh",
            "-c",
            #"touch "$(printf '/a\nb')" "$(printf '/c\377')" '/a\x0ab' '/"q"'"#
        )
        let rows = try strata.ok("diff", "--format", "json", "work").lines.map { try JSON.parse($0) }
        let paths = rows.filter { $0["PathHex"] == nil }.compactMap { $0["Path"]?.string }
        #expect(paths == ["/\"q\"", "/a\nb", "/a\\x0ab"])
        #expect(rows.compactMap { $0["PathHex"]?.string } == ["2f63ff"])
        #expect(rows.allSatisfy { $0["Type"]?.string == "A" }, "\(rows)")
    }

    @Test func fullLogIsSetAsideAndReadWhole() throws {
        let script = "i=0; while [ $i -lt 60 ]; do i=$((i + 1)); echo line $i; done"
        try strata.ok(
            "run",
            "--name",
            "work",
            "--log-opt",
            "max-size=1k",
            "--log-opt",
            "max-file=3",
            "busybox",
            "sh",
            "-c",
            script
        )
        let files = try Program.shell("cd \(strata.root)/containers/*/ && stat -c '%n %s' log*").lines
        #expect(
            files.count == 3 && files.allSatisfy { Int($0.split(separator: " ")[1]) ?? 9999 <= 1100 },
            "\(files)"
        )
        // The oldest lines are gone, what is left is in order to the end.
        let lines = try strata.ok("logs", "work").lines
        #expect(lines.last == "line 60" && lines.count > 20 && lines.count < 60, "\(lines)")
        #expect(lines == (61 - lines.count...60).map { "line \($0)" })
        #expect(try strata.ok("logs", "--tail", "15", "work").lines == (46...60).map { "line \($0)" })
        #expect(try strata.ok("logs", "--tail", "-1", "work").lines == lines)
        let config = try strata.ok("inspect", "-f", "{{json .HostConfig.LogConfig}}", "work").line
        #expect(config == #"{"Type":"json-file","Config":{"max-file":"3","max-size":"1k"}}"#)
    }

    @Test func noLogIsKept() throws {
        let outcome = try strata.ok("run", "--name", "work", "--log-driver", "none", "busybox", "echo", "hi")
        #expect(outcome.line == "hi")
        expect(try strata("logs", "work"), code: 1, saying: "does not support reading")
        #expect(try strata.ok("inspect", "-f", "{{.LogPath}}", "work").line == "")
    }

    @Test(arguments: [
        (["--log-driver", "syslog"], "no log driver named 'syslog'"),
        (["--log-opt", "max-size=0"], "max-size=0"),
        (["--log-opt", "max-size=big"], "max-size=big"), (["--log-opt", "max-file=0"], "max-file=0"),
        (["--log-opt", "max-file=2"], "needs max-size"),
        (["--log-opt", "colour=red"], "unknown log opt 'colour'"),
        (["--log-opt", "max-size"], "NAME=VALUE"),
        (["--log-driver", "none", "--log-opt", "max-size=1m"], "unknown"),
        (["--cpuset-cpus", "4095"], "Requested CPUs are not available - requested 4095, available: 0"),
        (["--cpuset-cpus", "1-0"], "invalid format"), (["--cpuset-cpus", "x"], "invalid format"),
        (["--cpuset-cpus", "0,"], "invalid format"),
        (["-e", ""], "invalid environment variable"), (["-e", "=x"], "invalid environment variable"),
        (["-v", "/tmp:/v:ro,rw"], "invalid mode: ro,rw"), (["-v", ":/v"], "empty section"),
        (["-v", "/tmp:/v", "--tmpfs", "/v/"], "Duplicate mount point: /v/"),
    ])
    func wrongOptionsAreRefused(_ flags: [String], _ text: String) throws {
        let command = [Strata.program] + strata.flags + ["run", "--rm"] + flags + ["busybox", "true"]
        expect(try Program.run(command), code: 125, saying: text)
        #expect(try strata.ok("ps", "-aq").text == "")
    }

    @Test func execSaysWhyAProgramDidNotRun() throws {
        try strata.ok("run", "-d", "--name", "work", "busybox", "sleep", "1000")
        expect(try strata("exec", "-w", "/missing", "work", "pwd"), code: 126, saying: "/missing")
        expect(try strata("exec", "work", "nosuch"), code: 127, saying: "nosuch")
        expect(try strata("exec", "work", "/no/such"), code: 127, saying: "/no/such")
        expect(try strata("exec", "work", "/etc/passwd"), code: 126, saying: "/etc/passwd")
        expect(try strata("exec", "-u", "nobody2", "work", "id"), code: 126, saying: "nobody2")
        expect(try strata("exec", "-w", "rel", "work", "pwd"), code: 1, saying: "absolute")
        #expect(try strata.ok("exec", "-w", "", "work", "pwd").line == "/")
        expect(try strata("exec", "-d", "work", "nosuch"), code: 1, saying: "nosuch")
        expect(try strata("exec", "-d", "-u", "nobody2", "work", "id"), code: 1, saying: "nobody2")
        #expect(try strata("exec", "work", "sh", "-c", "exit 7").code == 7)
        #expect(try strata("exec", "work", "sh", "-c", "kill -9 $$").code == 137)
        try strata.ok("rm", "-f", "work")
    }

    @Test func psFiltersAndShows() throws {
        for name in ["one", "two", "onetwo"] {
            try strata.ok(
                "create",
                "--name",
                name,
                "-v",
                "/tmp:/data",
                "busybox",
                "sh",
                "-c",
                "echo a b",
                "c"
            )
        }
        func names(_ filter: String) throws -> [String] {
            try strata.ok("ps", "-a", "--filter", filter, "--format", "{{.Names}}").lines
        }
        #expect(try names("name=one") == ["onetwo", "one"])
        #expect(try names("name=^/?one$") == ["one"])
        #expect(try names("name=^t") == ["two"])
        #expect(try names("before=two") == ["one"])
        #expect(try names("since=one") == ["onetwo", "two"])
        #expect(try names("network=none").count == 3)
        #expect(try names("network=host") == [])
        #expect(try names("volume=/data").count == 3)
        #expect(try names("volume=/tmp").count == 3)
        #expect(try names("volume=/nothing") == [])
        expect(try strata("ps", "--filter", "since=nosuch"), code: 1, saying: "nosuch")
        expect(try strata("ps", "--filter", "name=("), code: 1, saying: "regular expression")
        expect(try strata("ps", "--filter", "colour=red"), code: 1, saying: "colour")
        let command = try strata.ok(
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            "name=two$",
            "--format",
            "{{.Command}}"
        )
        #expect(try strata.ok("ps", "-as", "--format", "{{.Size}}").line.contains("(virtual "))
        #expect(command.lines.first == #""sh -c 'echo a b' c""#)
    }

    /// What scripts ask of any container.
    @Test func templatesForDockerFindTheirKeys() throws {
        try strata.ok("create", "--name", "work", "busybox", "true")
        let format = """
            {{.NetworkSettings.IPAddress}}|{{.HostConfig.RestartPolicy.Name}}|{{.HostConfig.Privileged}}|\
            {{len .HostConfig.PortBindings}}|{{.State.Pid}}|\
            {{range $name, $network := .NetworkSettings.Networks}}{{$name}}={{$network.IPAddress}}{{end}}
            """
        #expect(try strata.ok("inspect", "-f", format, "work").line == "|no|false|0|0|none=")
    }

    @Test func whatInspectShowsIsTaken() throws {
        try strata.ok("run", "--name", "/work", "busybox", "echo", "hi")
        #expect(try strata.ok("inspect", "-f", "{{.Name}}", "/work").line == "/work")
        #expect(
            try strata.ok("logs", "--since", "2020-01-02", "--until", "2999-01-02T10:00", "work").line == "hi"
        )
        #expect(try strata.ok("logs", "--since", "2999-01-02", "work").line == "")
        try strata.ok("stop", "--time", "1", "/work")
        try strata.ok("rm", "/work")
    }

    @Test func imagesAreCalledWhatLeadsToThem() throws {
        try strata.ok("create", "--name", "work", "busybox")
        try strata.ok("tag", "busybox", "kept")
        try strata.ok("tag", "busybox", "kept/too")
        #expect(try strata.ok("ps", "-a", "--format", "{{.Image}}").line == "busybox")
        try strata.ok("rmi", "busybox")
        let id = try strata.ok("image", "inspect", "-f", "{{.Id}}", "kept").line
        #expect(try strata.ok("ps", "-a", "--format", "sha256:{{.Image}}").line == String(id.prefix(19)))
        #expect(try strata.ok("images", "--format", "{{.Repository}}", "k*").lines == ["kept"])
        #expect(try strata.ok("images", "--format", "{{.Repository}}", "k*/?oo").lines == ["kept/too"])
        #expect(try strata.ok("container", "inspect", "-f", "{{.Image}}", "work").line == id)
        expect(try strata("commit", "work", "new@\(id)"), code: 1, saying: "with a digest reference")
        expect(try strata("image", "inspect", "work"), code: 1, saying: "No such image: work")
        expect(try strata("container", "inspect", "kept"), code: 1, saying: "No such container: kept")
    }

    @Test func removingWhatIsNotThere() throws {
        expect(try strata("rm", "nosuch"), code: 1, saying: "No such container: nosuch")
        expect(try strata("rm", "-f", "nosuch"), code: 0, saying: "No such container: nosuch")
    }

    /// An image that has a link where the engine mounts is refused, as by runc: what the link leads to is the image's choice.
    @Test(arguments: ["proc", "sys", "dev"])
    func linkInPlaceOfAMountPoint(_ name: String) throws {
        let place = strata.directory.appending("linked").string
        try Program.shell(
            """
            mkdir -p \(place)/bin \(place)/elsewhere; cp /bin/busybox \(place)/bin/
            ln -s elsewhere \(place)/\(name); tar -C \(place) -cf \(place).tar .
            """
        )
        try strata.ok("import", "\(place).tar", "linked")
        let outcome = try strata("run", "--rm", "linked", "/bin/busybox", "true")
        expect(outcome, code: 125, saying: "/\(name) is a symlink")
        #expect(try strata.ok("ps", "-aq").text == "")
    }
}
