// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Launch
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

@Suite(.requires(.root, .program("busybox")))
struct ContainerTests {
    let root: BusyboxRoot

    init() throws { root = try BusyboxRoot() }

    @Test func runsAProgram() throws {
        #expect(try root.run("echo hello; exit 3") == .init(code: 3, output: "hello\n"))
        #expect(try root.run("kill -TERM $$; sleep 1").code == 0)  // pid 1 ignores what it does not handle
    }

    @Test func namespacesAreNew() throws {
        let script = "for n in pid mnt uts ipc net cgroup; do readlink /proc/self/ns/$n; done"
        try Files.unlink(root.path.appending("bin/readlink"))
        try system("symlink") { symlink("busybox", root.path.appending("bin/readlink").string) }
        let inside = try root.run(script).output.split(separator: "\n").map(String.init)
        #expect(inside.count == 6)
        for (name, link) in zip(["pid", "mnt", "uts", "ipc", "net", "cgroup"], inside) {
            let host = String(decoding: try Files.readLink("/proc/self/ns/\(name)"), as: UTF8.self)
            #expect(link.hasPrefix(name) && link != host, "\(name): \(link)")
        }
        #expect(try root.run("hostname; echo $$; echo /proc/[0-9]*").output == "box\n1\n/proc/1\n")
    }

    @Test func devicesAndLinksAreThere() throws {
        let script = """
            for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo missing $d; done
            [ "$(readlink /dev/ptmx)" = pts/ptmx ] || echo ptmx
            [ "$(readlink /dev/fd)" = /proc/self/fd ] || echo fd
            echo lost > /dev/null && cat /dev/null && [ -d /dev/shm ] && [ -d /dev/mqueue ]
            ls -ld /dev/shm /dev/pts/ptmx | cut -c1-10
            """
        for name in ["readlink", "cut", "grep", "touch", "mkdir", "umount", "chroot", "ip", "dd", "nproc"] {
            try system("symlink") { symlink("busybox", root.path.appending("bin/\(name)").string) }
        }
        let answer = try root.run(script).output
        #expect(answer == "crw-rw-rw-\ndrwxrwxrwt\n", "\(answer)")
    }

    @Test func processThatBeganBeforeGivesTheSameContainer() throws {
        for name in ["stat", "readlink", "grep", "umask"] {
            try system("symlink") { symlink("busybox", root.path.appending("bin/\(name)").string) }
        }
        let script = """
            cat /proc/self/mounts /proc/net/dev /proc/self/cgroup; hostname; umask; id; ls -a / /dev /proc /sys
            stat -c '%n %F %a %u:%g %t:%T %N' /dev/* /dev/shm /dev/pts/* /proc/kcore /proc/keys
            grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Sig[^Q]|NS)' /proc/self/status
            ls /proc/1/fd /sys/class/net; : > /proc/sys/kernel/domainname
            """
        var spec = BusyboxRoot.spec(script)
        spec.linux.resources.memory = 64 << 20
        spec.linux.resources.pids = 50
        for network in [true, false] {
            if !network { spec.linux.namespaces.removeAll { $0.kind == .network } }
            var options = StartOptions()
            options.cgroup = "/strata-test-\(getpid())-begun"
            let whole = try root.run(spec, options: options)
            let begun = try root.run(spec, options: options, begun: Container.begin(spec))
            func lines(_ outcome: BusyboxRoot.Outcome) -> [String] {
                // Numbers of processes, of what passes through the host's network, and of the signals that wait for all of
                // a user's processes (SigQ) differ from moment to moment.
                outcome.output.split(separator: "\n").map(String.init).filter {
                    Int($0) == nil && (network || !$0.contains(": "))
                }
            }
            #expect(lines(begun) == lines(whole))
            #expect(lines(whole).count > 60)
        }
    }

    @Test func beginningThatDoesNotFitIsLeftAside() throws {
        let spec = BusyboxRoot.spec("cat /proc/self/mounts | busybox wc -l; ls /sys/class/net")
        var other = spec
        other.linux.namespaces.removeAll { $0.kind == .network }
        other.mounts.removeAll { $0.destination == "/dev/mqueue" }
        guard let begun = Container.begin(other) else { return }  // cgroup v2: nothing begins before
        let whole = try root.run(spec)
        #expect(try root.run(spec, begun: begun) == whole)
        #expect(whole.output.hasSuffix("lo\n"))
    }

    @Test func hostIsOutOfReach() throws {
        try Files.replace(root.path.appending("mark"), with: [], mode: 0o644)
        #expect(
            try root.run("ls /; busybox ls /proc/1/root/.. | busybox grep -c mark").output.contains("mark")
        )
        let mounts = try root.run("cat /proc/self/mounts").output
        #expect(mounts.split(separator: "\n").first?.split(separator: " ")[1] == "/")
        // Everything that is mounted is what the specification says.
        let known = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"]
        for line in mounts.split(separator: "\n") {
            let path = String(line.split(separator: " ")[1])
            #expect(known.contains(path) || path.hasPrefix("/proc/") || path.hasPrefix("/sys/"), "\(line)")
        }
    }

    @Test func noDescriptorIsPassedOn() throws {
        let open = try Files.open("/", O_RDONLY)
        _ = fcntl(open.raw, F_SETFD, 0)
        #expect(try root.run("ls /proc/1/fd; true").output == "0\n1\n2\n")
        var spec = BusyboxRoot.spec("ls /proc/1/fd; true")
        spec.process.noNewPrivileges = true
        #expect(try root.run(spec, options: StartOptions(initProcess: true)).output == "0\n1\n2\n")
    }

    @Test func initIsNotAProgramOfTheHost() throws {
        let script =
            "busybox readlink /proc/1/exe; cat /proc/1/comm; busybox head -c 4 /proc/1/exe | busybox tail -c 3"
        let answer = try root.run(BusyboxRoot.spec(script), options: StartOptions(initProcess: true)).output
        #expect(!answer.contains("strata/"), "\(answer)")
        // Its file is sealed: not even root can write it.
        let write =
            "echo x > /proc/1/exe; busybox dd if=/dev/zero of=/proc/1/exe bs=1 count=1 conv=notrunc && echo WRITTEN"
        #expect(
            try !root.run(BusyboxRoot.spec(write), options: StartOptions(initProcess: true)).output
                .contains("WRITTEN")
        )
    }

    @Test func scriptThatNamesProcSelfExeRunsNothingOfTheHost() throws {
        try Files.replace(root.path.appending("evil"), with: Array("#!/proc/self/exe\n".utf8), mode: 0o755)
        var spec = BusyboxRoot.spec("")
        spec.process.args = ["/evil"]
        // What runs then is the interpreter without a plan, which refuses.
        #expect(try root.run(spec).code == 125)
    }

    @Test func capabilitiesAreDockers() throws {
        let status = try root.run("busybox grep Cap /proc/self/status").output
        #expect(
            status == """
                CapInh:\t0000000000000000
                CapPrm:\t00000000a80425fb
                CapEff:\t00000000a80425fb
                CapBnd:\t00000000a80425fb
                CapAmb:\t0000000000000000

                """
        )
        var spec = BusyboxRoot.spec("busybox grep Cap /proc/self/status | busybox cut -f2; id")
        spec.process.user = Spec.User(uid: 1000, gid: 100, additionalGids: [5, 6])
        let user = try root.run(spec).output
        #expect(
            user == """
                0000000000000000
                0000000000000000
                0000000000000000
                00000000a80425fb
                0000000000000000
                uid=1000 gid=100 groups=5,6,100

                """
                || user.hasSuffix("uid=1000 gid=100 groups=5,6\n")
        )
    }

    @Test func seccompIsInForce() throws {
        #expect(try root.run("busybox grep '^Seccomp:' /proc/self/status").output == "Seccomp:\t2\n")
        let script = "busybox unshare -U true 2>&1; busybox mount -t tmpfs x /tmp 2>&1; true"
        let denied = try root.run(script).output
        #expect(
            denied.split(separator: "\n").allSatisfy { $0.contains("not permitted") || $0.contains("denied") }
        )
        #expect(denied.split(separator: "\n").count == 2, "\(denied)")
        var free = BusyboxRoot.spec("busybox unshare -U true && busybox grep '^Seccomp:' /proc/self/status")
        free.linux.seccomp = nil
        #expect(try root.run(free).output == "Seccomp:\t0\n")
    }

    @Test func maskedAndReadOnlyPaths() throws {
        let script = """
            busybox wc -c < /proc/interrupts; busybox wc -c < /proc/timer_list; ls /proc/acpi /proc/scsi /sys/firmware 2>&1 | busybox grep -v '^/' | busybox grep -v '^$'
            echo x > /proc/sys/kernel/domainname; echo x > /proc/sysrq-trigger; echo $?
            busybox touch /sys/x; echo $?
            """
        let answer = try root.run(script).output
        #expect(answer.hasPrefix("0\n0\n"), "\(answer)")
        #expect(answer.contains("Read-only file system"))
        #expect(answer.hasSuffix("1\n"))
    }

    @Test func readOnlyRoot() throws {
        var spec = BusyboxRoot.spec("busybox touch /new 2>&1; busybox touch /dev/shm/new && echo shm")
        spec.root.readonly = true
        let answer = try root.run(spec).output
        #expect(answer.contains("Read-only file system") && answer.hasSuffix("shm\n"), "\(answer)")
    }

    @Test func loopbackIsUpAndNothingElse() throws {
        let answer = try root.run("busybox ip -o addr | busybox awk '{print $2, $4}'").output
        #expect(answer.hasPrefix("lo 127.0.0.1/8\n"))
        #expect(answer.split(separator: "\n").allSatisfy { $0.hasPrefix("lo ") })
    }

    @Test func exitCodesOfProgramsThatDoNotRun() throws {
        var spec = BusyboxRoot.spec("")
        spec.process.args = ["nothing-of-that-name"]
        let missing = #expect(throws: RuntimeError.self) { try root.run(spec) }
        #expect(missing?.exitCode == 127)
        spec.process.args = ["/etc"]
        let directory = #expect(throws: RuntimeError.self) { try root.run(spec) }
        #expect(directory?.exitCode == 126)
        spec.process.args = ["/bin/true"]
        spec.process.cwd = "/bin/true"
        let cwd = #expect(throws: RuntimeError.self) { try root.run(spec) }
        #expect(cwd?.exitCode == 125)
    }

    @Test func signalsEndIt() throws {
        let spec = BusyboxRoot.spec("sleep 60")
        let null = try Files.open("/dev/null", O_RDWR)
        let options = StartOptions(io: .descriptors(input: null.raw, output: null.raw, error: null.raw))
        let container = try Container.start(spec, root: .mount(root.mount()), options: options).finish()
        try container.signal(SIGKILL)
        #expect(try container.wait() == .signalled(SIGKILL))
        #expect(ProcessExit.signalled(SIGKILL).code == 137)
    }

    @Test func bindMountsAndVolumes() throws {
        let volume = try TemporaryDirectory()
        try Files.replace(volume.appending("file"), with: Array("data\n".utf8), mode: 0o644)
        try root.write("from image\n", to: "etc/hosts")
        let hosts = volume.appending("hosts")
        try Files.replace(hosts, with: Array("from engine\n".utf8), mode: 0o644)
        var spec = BusyboxRoot.spec(
            """
            cat /data/deep/file /etc/hosts; echo new > /data/deep/new; busybox touch /ro/x 2>&1; busybox touch /etc/hosts && echo ok
            """
        )
        spec.mounts += [
            Spec.Mount(
                destination: "/data/deep",
                type: "bind",
                source: volume.path.string,
                options: ["rbind"]
            ),
            Spec.Mount(
                destination: "/ro",
                type: "bind",
                source: volume.path.string,
                options: ["rbind", "ro"]
            ),
            Spec.Mount(destination: "/etc/hosts", type: "bind", source: hosts.string, options: ["bind"]),
        ]
        let answer = try root.run(spec)
        #expect(answer.output.hasPrefix("data\nfrom engine\n"), "\(answer.output)")
        #expect(answer.output.contains("Read-only file system") && answer.output.hasSuffix("ok\n"))
        #expect(try Files.contents(volume.appending("new")) == Array("new\n".utf8))
        #expect(try Files.contents(root.path.appending("etc/hosts")) == Array("from image\n".utf8))
    }

    @Test func limitsAndSysctls() throws {
        var spec = BusyboxRoot.spec("ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward; umask")
        spec.process.rlimits = [Spec.ResourceLimit(type: "RLIMIT_NOFILE", soft: 100, hard: 200)]
        spec.linux.sysctl = ["net.ipv4.ip_forward": "1"]
        spec.process.user.umask = 0o077
        #expect(try root.run(spec).output == "100\n200\n1\n0077\n")
    }

    @Test func initReapsOrphans() throws {
        // One that nobody waits for stays there, as a zombie.
        let spec = BusyboxRoot.spec(
            """
            (sleep 0.05 & echo $! >/tmp/pid); orphan=/proc/$(cat /tmp/pid); i=0
            while [ -e $orphan ] && [ $i -lt 6000 ]; do i=$((i + 1)); busybox usleep 10000; done
            [ -e $orphan ] || echo gone; exit 4
            """
        )
        let options = StartOptions(initProcess: true)
        #expect(try root.run(spec, options: options) == .init(code: 4, output: "gone\n"))
    }

    @Test func workingDirectoryIsMade() throws {
        var spec = BusyboxRoot.spec("busybox pwd")
        spec.process.cwd = "/made/for/it"
        #expect(try root.run(spec).output == "/made/for/it\n")
    }
}
