// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import Launch
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

struct SpecTests {
    @Test func defaultsRoundTrip() throws {
        var spec = SpecDefaults.container()
        spec.process.args = ["sh", "-c", "true"]
        spec.process.rlimits = [Spec.ResourceLimit(type: "RLIMIT_CORE", soft: 0, hard: .max)]
        spec.process.user = Spec.User(uid: 1, gid: 2, additionalGids: [3], umask: 0o27)
        spec.process.consoleSize = Spec.ConsoleSize(rows: 5, columns: 6)
        spec.hostname = "h"
        spec.annotations = ["a": "b"]
        spec.linux.resources.memory = 1 << 30
        spec.linux.resources.cpuQuota = -1
        spec.linux.resources.pids = 7
        spec.linux.sysctl = ["net.core.somaxconn": "1024"]
        spec.linux.uidMappings = [Spec.IDMapping(containerID: 0, hostID: 1000, size: 5)]
        spec.linux.devices = [Spec.Device(path: "/dev/fuse", major: 10, minor: 229)]
        let text = spec.json.bytes()
        let read = try Spec(JSON.parse(text))
        #expect(read.json == spec.json)
        #expect(read.process.args == spec.process.args)
        #expect(
            read.linux.resources.memory == 1 << 30 && read.linux.resources.devices == SpecDefaults.deviceRules
        )
        #expect(read.linux.seccomp == spec.linux.seccomp)
        #expect(read.linux.newNamespaces == [.pid, .mount, .uts, .ipc, .cgroup, .network])
    }

    @Test func unknownFieldsSurvive() throws {
        let text = """
            {"ociVersion":"1.0.0","hooks":{"prestart":[]},"process":{"user":{"uid":1,"gid":2,"extra":true},
             "args":["x"],"cwd":"/","apparmorProfile":"p"},"root":{"path":"r","more":1},
             "mounts":[{"destination":"/a","type":"tmpfs","uidMappings":[]}],
             "linux":{"resources":{"memory":{"limit":5,"kernelTCP":6},"hugepageLimits":[]},"intelRdt":{}},"vm":{}}
            """
        let json = try JSON.parse(text)
        var spec = try Spec(json)
        #expect(spec.json == json)
        spec.linux.resources.memory = 9
        #expect(spec.json["linux"]?["resources"]?["memory"] == ["limit": 9, "kernelTCP": 6])
    }

    @Test(arguments: [
        #"[]"#, #"{"process":{"args":[1]}}"#, #"{"mounts":[{}]}"#,
        #"{"linux":{"namespaces":[{"type":"x"}]}}"#,
        #"{"process":{"user":{"uid":-1}}}"#, #"{"process":{"user":{"uid":4294967296}}}"#, #"{"root":"r"}"#,
        #"{"linux":{"devices":[{"path":"/d","type":"z"}]}}"#,
        #"{"linux":{"resources":{"pids":{"limit":"1"}}}}"#,
    ])
    func wrongTypesAreRefused(_ text: String) throws {
        #expect(throws: RuntimeError.self) { try Spec(JSON.parse(text)) }
    }

    @Test func planIsPrintable() throws {
        var spec = SpecDefaults.container()
        spec.process.args = ["/bin/true"]
        spec.mounts.append(
            Spec.Mount(destination: "/etc/hosts", type: "bind", source: "/not/made/yet", options: ["rbind"])
        )
        let text = try Container.plan(spec, options: StartOptions()).description
        for line in [
            "mount proc on /proc (nosuid,nodev,noexec)", "mask /proc/kcore", "make /proc/sys read-only",
            "pivot to the new root", "/not/made/yet on /etc/hosts",
            "limit capabilities to a80425fb", "execute /bin/true", "make device /dev/null (1:3)",
        ] { #expect(text.contains(line), "\(line) in\n\(text)") }
    }
}

/// cgroup v2, which this machine need not have: against a directory of plain files.
struct CgroupV2Tests {
    @Test func limitsAreWrittenAndControllersPassedOn() throws {
        let directory = try TemporaryDirectory()
        let hierarchies = CgroupHierarchies(root: directory.path, version: .v2)
        let cgroup = Cgroup("/strata/abc", in: hierarchies)
        func put(_ name: String, _ text: String) throws {
            try Files.replace(directory.appending(name), with: Array(text.utf8))
        }
        func text(_ name: String) throws -> String {
            String(decoding: try Files.contents(directory.appending(name)), as: UTF8.self)
        }
        try Files.makeDirectories(directory.appending("strata/abc"))
        try put("cgroup.subtree_control", "cpu\n")
        try put("strata/cgroup.subtree_control", "")
        for file in [
            "memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max",
        ] {
            try put("strata/abc/\(file)", "")
        }
        var resources = Spec.Resources()
        resources.memory = 64 << 20
        resources.memorySwap = 96 << 20
        resources.memoryReservation = 1 << 20
        resources.cpuQuota = 150_000
        resources.cpuShares = 1024
        resources.cpusetCPUs = "0-1"
        resources.pids = -1
        try cgroup.update(resources)
        #expect(try text("cgroup.subtree_control") == "+memory +cpuset +pids")
        #expect(try text("strata/cgroup.subtree_control") == "+memory +cpu +cpuset +pids")
        #expect(try text("strata/abc/memory.max") == "\(64 << 20)")
        #expect(try text("strata/abc/memory.swap.max") == "\(32 << 20)")
        #expect(try text("strata/abc/cpu.max") == "150000 100000")
        #expect(try text("strata/abc/cpu.weight") == "39")
        #expect(try text("strata/abc/cpuset.cpus") == "0-1")
        #expect(try text("strata/abc/pids.max") == "max")
        try put("strata/abc/cgroup.procs", "5\n7\n")
        #expect(try cgroup.processes() == [5, 7])
        try put("strata/abc/memory.events", "low 0\noom 2\noom_kill 1\n")
        try put("strata/abc/memory.current", "4096\n")
        try put("strata/abc/cpu.stat", "usage_usec 12\nuser_usec 1\n")
        let statistics = cgroup.statistics()
        #expect(
            statistics.outOfMemoryKills == 1 && statistics.memory == 4096
                && statistics.cpuNanoseconds == 12_000
        )
    }
}

/// Images that try to lead the engine's mounts and writes astray.
@Suite(.requires(.root, .program("busybox")))
struct HostileRootTests {
    let root: BusyboxRoot

    init() throws { root = try BusyboxRoot() }

    private func replace(_ name: String, withLinkTo target: String) throws {
        try Files.removeTree(root.path.appending(name))
        try system("symlink") { symlink(target, root.path.appending(name).string) }
    }

    @Test(arguments: ["proc", "sys", "dev"]) func mountTargetsThatAreLinksAreRefused(_ name: String) throws {
        try replace(name, withLinkTo: "/tmp")
        let error = #expect(throws: RuntimeError.self) { try root.run("true") }
        #expect(error?.errno == Errno(rawValue: ELOOP))
        #expect(error?.message.contains(" on /\(name)") == true)
        #expect(try Files.unlink(root.path.appending("tmp"), isDirectory: true))
    }

    @Test func linksToTheHostStayInside() throws {
        let outside = try TemporaryDirectory()
        try replace("etc", withLinkTo: outside.path.string)
        let hosts = outside.appending("source")
        try Files.replace(hosts, with: Array("mounted\n".utf8), mode: 0o644)
        var spec = BusyboxRoot.spec("cat \(outside.path)/hosts")
        spec.mounts.append(
            Spec.Mount(destination: "/etc/hosts", type: "bind", source: hosts.string, options: ["bind"])
        )
        // The link's target does not exist inside: a directory made for it would be the image's business alone.
        #expect(throws: RuntimeError.self) { try root.run(spec) }
        try Files.makeDirectories(FilePath(root.path.string + outside.path.string), mode: 0o755)
        #expect(try root.run(spec).output == "mounted\n")
        #expect(try Files.status(outside.appending("hosts")) == nil)
    }

    @Test func workingDirectoryCannotLeadOut() throws {
        try replace("root", withLinkTo: "/proc/1/root/../../..")
        var spec = BusyboxRoot.spec("ls /")
        spec.process.cwd = "/root"
        #expect(try root.run(spec).output.contains("tmp"))
    }
}
