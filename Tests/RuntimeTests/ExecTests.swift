// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Launch
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

/// A second program in a running container, terminals, user namespaces, cgroups.
@Suite(.requires(.root, .program("busybox")))
struct ExecTests {
    let root: BusyboxRoot

    init() throws { root = try BusyboxRoot() }

    private func sleeper(_ spec: Spec, _ options: StartOptions = StartOptions()) throws -> RunningContainer {
        let null = try Files.open("/dev/null", O_RDWR)
        var options = options
        options.io = .descriptors(input: null.raw, output: null.raw, error: null.raw)
        return try Container.start(spec, root: .mount(root.mount()), options: options).finish()
    }

    private func exec(
        _ script: String,
        in spec: Spec,
        _ container: borrowing RunningContainer,
        _ change: (inout Spec.Process) -> Void = { _ in },
        cgroup: String? = nil
    ) throws -> BusyboxRoot.Outcome {
        var process = spec.process
        process.args = ["/bin/sh", "-c", script]
        change(&process)
        var ends: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&ends) }
        let reader = OwnedFD(adopting: ends[0])
        let writer = OwnedFD(adopting: ends[1])
        let options = StartOptions(
            io: .descriptors(input: writer.raw, output: writer.raw, error: writer.raw),
            cgroup: cgroup
        )
        let running = try Container.exec(
            process,
            in: spec,
            pidfd: container.process.pidfd.raw,
            options: options
        )
        .finish()
        try writer.close()
        let output = try Files.contents(of: reader.raw, limit: 1 << 20)
        return .init(code: try running.wait().code, output: String(decoding: output, as: UTF8.self))
    }

    @Test func execIsInsideWithTheSameBounds() throws {
        let spec = BusyboxRoot.spec("hostname changed 2>/dev/null; sleep 100")
        let container = try sleeper(spec)
        // The shell of the container may not have come to its sleep yet.
        let script = """
            hostname; i=0
            until busybox pidof sleep >/dev/null || [ $i = 6000 ]; do i=$((i + 1)); busybox usleep 10000; done
            [ $i = 6000 ] || echo sees; busybox grep -E 'CapEff|Seccomp:' /proc/self/status
            """
        let answer = try exec(script, in: spec, container)
        #expect(answer.output == "box\nsees\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n", "\(answer.output)")
        #expect(try exec("exit 9", in: spec, container).code == 9)
        #expect(try exec("ls /proc/$$/fd; true", in: spec, container).output == "0\n1\n2\n")
        let user = try exec("id -u; busybox pwd; echo $MARK", in: spec, container) {
            $0.user = Spec.User(uid: 12, gid: 13)
            $0.cwd = "/tmp"
            $0.env.append("MARK=set")
        }
        #expect(user.output == "12\n/tmp\nset\n")
        for (program, code) in [("not-there", 127), ("/etc", 126)] as [(String, CInt)] {
            let error = #expect(throws: RuntimeError.self) {
                try exec("", in: spec, container) { $0.args = [program] }
            }
            #expect(error?.exitCode == code)
        }
        try container.signal(SIGKILL)
        _ = try container.wait()
    }

    /// A process in a user namespace with the map, whose namespace maps trees.
    private func mapper(_ linux: Spec.Linux) throws -> RunningContainer {
        var spec = BusyboxRoot.spec("sleep 100")
        spec.linux = linux
        spec.linux.namespaces = [.user, .mount, .pid].map { Spec.Namespace($0) }
        spec.mounts = []
        spec.linux.maskedPaths = []
        spec.linux.readonlyPaths = []
        spec.hostname = nil
        return try sleeper(spec)
    }

    @Test(arguments: ["mount", "directory", "overlay"]) func userNamespace(_ way: String) throws {
        let script = """
            cat /proc/self/uid_map; id -u; [ -c /dev/null ] && echo x > /dev/null && echo dev
            busybox stat -c %u /etc/file; busybox touch /tmp/made; ls /sys/class >/dev/null && echo sys; ls /home 2>/dev/null
            """
        var spec = BusyboxRoot.spec(script)
        spec.linux.namespaces.append(Spec.Namespace(.user))
        spec.linux.uidMappings = [Spec.IDMapping(containerID: 0, hostID: 100_000, size: 65_536)]
        spec.linux.gidMappings = spec.linux.uidMappings
        spec.linux.resources.devices = []
        try root.write("x", to: "etc/file")
        let holder = try mapper(spec.linux)
        let namespace = try Files.open("/proc/\(holder.pid)/ns/user", O_RDONLY)
        let home = root.temporary.path
        for name in ["upper", "work"] { try Files.makeDirectory(home.appending(name), mode: 0o755) }
        let tree = try DetachedMount.clone(way == "mount" ? root.path : home, below: AT_FDCWD)
        try DetachedMount.mapIDs(by: namespace.raw, on: tree.raw)
        let source: ContainerRoot
        switch way {
        case "mount": source = .mount(tree)
        case "directory": source = .idMappedDirectory(home: tree, directory: "rootfs")
        default:
            source = .idMappedFileSystem(
                home: tree,
                type: "overlay",
                directory: ".",
                data: "lowerdir=rootfs,upperdir=upper,workdir=work,userxattr,index=off"
            )
        }
        var ends: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&ends) }
        let reader = OwnedFD(adopting: ends[0])
        let writer = OwnedFD(adopting: ends[1])
        let options = StartOptions(io: .descriptors(input: writer.raw, output: writer.raw, error: writer.raw))
        let container = try Container.start(spec, root: source, options: options).finish()
        _ = try container.wait()
        try writer.close()
        let text = String(decoding: try Files.contents(of: reader.raw, limit: 1 << 20), as: UTF8.self)
        #expect(text == "         0     100000      65536\n0\ndev\n0\nsys\n", "\(text)")
        // On disk nothing is shifted.
        let made = way == "overlay" ? home.appending("upper/tmp/made") : root.path.appending("tmp/made")
        #expect(try Files.status(made)?.uid == 0)
        try holder.signal(SIGKILL)
        _ = try holder.wait()
    }

    @Test func terminal() throws {
        var spec = BusyboxRoot.spec(
            "tty; stty size; cat /proc/self/stat | busybox cut -d' ' -f7; read line; echo got $line; exit 6"
        )
        spec.process.terminal = true
        let size = Spec.ConsoleSize(rows: 33, columns: 77)
        let options = StartOptions(io: .terminal(size))
        var container = try Container.start(spec, root: .mount(root.mount()), options: options).finish()
        guard let master = container.process.terminal.take() else {
            Issue.record("no terminal came back")
            return
        }
        try Files.writeAll(Array("hello\n".utf8), to: master.raw)
        let status = try container.wait()
        // It comes in pieces; what follows the last is an error, since nobody has the other end.
        var (output, count): ([UInt8], Int) = ([], 0)
        repeat {
            var buffer = [UInt8](repeating: 0, count: 4096)
            count = buffer.withUnsafeMutableBytes { read(master.raw, $0.baseAddress, $0.count) }
            output += buffer.prefix(max(0, count))
        } while count > 0
        let text = String(decoding: output, as: UTF8.self)
        #expect(status.code == 6)
        #expect(
            text.contains("/dev/pts/0") && text.contains("33 77") && text.contains("got hello"),
            "\(text)"
        )
    }

    @Test(.requires(.cgroupV1)) func limitsAreInTheCgroupAndExecJoins() throws {
        let parent = "/strata-test-\(UInt32.random(in: 0...UInt32.max))"
        let id = "\(parent)/box"
        var spec = BusyboxRoot.spec("sleep 100")
        spec.linux.resources.memory = 32 << 20
        spec.linux.resources.pids = 20
        spec.linux.resources.cpuQuota = 50_000
        spec.linux.resources.cpuPeriod = 100_000
        let container = try sleeper(spec, StartOptions(cgroup: id))
        guard let cgroup = container.cgroup else { return }
        func value(_ controller: String, _ file: String) throws -> String {
            String(decoding: try Files.contents(cgroup.directory(controller).appending(file)), as: UTF8.self)
        }
        #expect(try value("memory", "memory.limit_in_bytes") == "\(32 << 20)\n")
        #expect(try value("pids", "pids.max") == "20\n")
        #expect(try value("cpu", "cpu.cfs_quota_us") == "50000\n")
        #expect(try value("devices", "devices.list").contains("c 1:3 rwm"))
        for controller in ["memory", "pids", "cpu", "devices", "freezer"] {
            #expect(try value(controller, "tasks") == "\(container.pid)\n")
        }
        #expect(try cgroup.processes() == [container.pid])
        let inside = try exec(
            "cat /proc/self/cgroup; busybox mknod /tmp/sda b 8 0 && cat /tmp/sda",
            in: spec,
            container,
            cgroup: id
        )
        #expect(
            inside.output.contains("memory:/\n") && inside.output.contains("pids:/\n"),
            "\(inside.output)"
        )
        #expect(inside.output.contains("not permitted"), "\(inside.output)")
        try cgroup.freeze()
        #expect(cgroup.isFrozen)
        try cgroup.thaw()
        #expect(!cgroup.isFrozen)
        #expect(cgroup.statistics().pids == 1)
        #expect(Cgroup.removeAbandoned(below: parent, in: cgroup.hierarchies, idleSeconds: 0) == [])
        try cgroup.kill()
        #expect(try container.wait() == .signalled(SIGKILL))
        #expect(Cgroup.removeAbandoned(below: parent, in: cgroup.hierarchies) == [])
        #expect(
            Cgroup.removeAbandoned(below: parent, in: cgroup.hierarchies, idleSeconds: 0)
                == ["box"]
        )
        try cgroup.remove()
        #expect(cgroup.directories().isEmpty)
        for controller in ["memory", "pids", "cpu", "devices", "freezer"] {
            _ = try? Files.unlink(
                Cgroup(parent, in: cgroup.hierarchies).directory(controller),
                isDirectory: true
            )
        }
    }
}
