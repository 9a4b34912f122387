// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

/// The device rules of cgroup v2.
struct DeviceProgramTests {
    /// What a process asks the kernel for.
    struct Request {
        var type: UInt32  // 1: block, 2: character
        var access: UInt32  // 1: make, 2: read, 4: write
        var major: UInt32
        var minor: UInt32
    }

    /// The instructions that a device program uses, as the kernel's documentation states them.
    private static func answer(_ program: DeviceProgram, _ request: Request) throws -> UInt64 {
        let context = [request.access << 16 | request.type, request.major, request.minor]
        var registers = [UInt64](repeating: 0, count: 11)
        var counter = 0
        for _ in 0..<100_000 {
            let word = try #require(
                program.instructions.indices.contains(counter) ? program.instructions[counter] : nil
            )
            counter += 1
            let (target, source) = (Int(word >> 8 & 15), Int(word >> 12 & 15))
            let offset = Int(Int16(truncatingIfNeeded: word >> 16))
            let value = UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: word >> 32)))
            switch word & 0xFF {
            case 0x61:
                #expect(source == 1 && offset % 4 == 0)
                registers[target] = UInt64(context[offset / 4])
            case 0xBF: registers[target] = registers[source]
            case 0xB7: registers[target] = value
            case 0x57: registers[target] &= value
            case 0x77: registers[target] >>= value
            case 0x55: if registers[target] != value { counter += offset }
            case 0x45: if registers[target] & value != 0 { counter += offset }
            case 0x05: counter += offset
            case 0x95: return registers[0]
            default: throw Unknown(code: word & 0xFF)
            }
        }
        throw Unknown(code: 0)
    }

    private struct Unknown: Error { var code: UInt64 }

    /// Each kind of access by the last rule that speaks of it.
    private static func expected(_ rules: [Spec.DeviceRule], _ request: Request) -> Bool {
        for (bit, letter) in [(UInt32(1), "m"), (2, "r"), (4, "w")] where request.access & bit != 0 {
            let rule = rules.last { rule in
                (rule.type == "a" || (rule.type == "b") == (request.type == 1))
                    && (rule.major ?? -1 < 0 || rule.major == Int64(request.major))
                    && (rule.minor ?? -1 < 0 || rule.minor == Int64(request.minor))
                    && rule.access.contains(letter)
            }
            if rule?.allow != true { return false }
        }
        return true
    }

    @Test func randomRulesAreDecidedAsTheSpecificationSays() throws {
        var generator = SystemRandomNumberGenerator()
        var allowed = 0
        for _ in 0..<300 {
            let rules = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                Spec.DeviceRule(
                    allow: Bool.random(using: &generator),
                    type: ["a", "b", "c"].randomElement(using: &generator) ?? "a",
                    major: [nil, -1, 1, 5, 8].randomElement(using: &generator) ?? nil,
                    minor: [nil, 0, 3].randomElement(using: &generator) ?? nil,
                    access: ["r", "w", "m", "rw", "rm", "rwm"].randomElement(using: &generator) ?? "rwm"
                )
            }
            let program = try DeviceProgram(rules)
            for type in 1...2 as ClosedRange<UInt32> {
                for access in 1...7 as ClosedRange<UInt32> {
                    for (major, minor) in [(1, 3), (5, 0), (8, 3), (300, 9)] as [(UInt32, UInt32)] {
                        let request = Request(type: type, access: access, major: major, minor: minor)
                        let answer = try Self.answer(program, request)
                        #expect((answer == 1) == Self.expected(rules, request), "\(rules) \(request)")
                        allowed += Int(answer)
                    }
                }
            }
        }
        #expect(allowed > 500)
    }

    @Test func rulesThatCannotBeAreRefused() {
        for rule in [
            Spec.DeviceRule(allow: true, type: "x"), Spec.DeviceRule(allow: true, access: "rx"),
            Spec.DeviceRule(allow: true, type: "c", major: 1 << 40),
        ] {
            let error = #expect(throws: RuntimeError.self) { try DeviceProgram([rule]) }
            #expect(error?.message.contains("device rule") == true)
        }
    }

    /// The cgroup2 mount of this machine, pure or beside v1.
    private static let unified: FilePath? = (["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] as [FilePath])
        .first { path in (try? Files.status(path.appending("cgroup.controllers"))) != nil }

    private static let pureNeed = Need.kernel("pure cgroup v2") {
        CgroupHierarchies.detect()?.version == .v2 ? nil : "the cgroups of this machine are those of v1"
    }

    @Test(.requires(.root, .deviceNodes, .program("busybox"), pureNeed)) func aContainerIsKeptToItsDevices()
        throws
    {
        let root = try BusyboxRoot()
        let spec = BusyboxRoot.spec("mknod /tmp/disk b 7 200; cat /tmp/disk; cat /dev/null && echo fine")
        let outcome = try root.run(spec, options: StartOptions(cgroup: "/strata-test-\(getpid())-kept"))
        #expect(outcome.output.contains("not permitted") && outcome.output.hasSuffix("fine\n"), "\(outcome)")
    }

    private static let mountNeed = Need.other("a cgroup2 mount") {
        unified == nil ? "no cgroup2 is mounted below /sys/fs/cgroup" : nil
    }

    @Test(.requires(.root, .deviceNodes, mountNeed)) func theKernelKeepsToDockersRules() throws {
        let unified = try #require(Self.unified)
        let cgroup = Cgroup(
            "/strata-test-\(getpid())",
            in: CgroupHierarchies(root: unified, version: .v2)
        )
        var resources = Spec.Resources()
        resources.devices = SpecDefaults.deviceRules
        try cgroup.create(resources)
        defer { try? cgroup.remove() }
        let directory = try TemporaryDirectory()
        /// What a process in the cgroup can do: `yes` and `no` a line.
        func inside(_ commands: [String]) throws -> [String] {
            let lines = commands.map { "if (\($0)) 2>/dev/null; then echo yes; else echo no; fi" }
            let script =
                "cd \(directory.path) && echo $$ >\(cgroup.directory(""))/cgroup.procs && \(lines.joined(separator: "; "))"
            let pipe = try #require(popen(script, "r"))
            let text = try Files.contents(of: fileno(pipe), limit: 1 << 16)
            #expect(pclose(pipe) == 0)
            return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        }
        let commands = [
            "mknod disk b 7 200", "mknod null c 1 3", "mknod memory c 1 1", "echo >null",
            "dd if=null count=0",
            ": <memory", ": >memory", "dd if=disk of=/dev/null count=1", "head -c1 /dev/zero >/dev/null",
        ]
        #expect(try inside(commands) == ["yes", "yes", "yes", "yes", "yes", "no", "no", "no", "yes"])
        // Other rules take the place of the first ones.
        resources.devices = [
            Spec.DeviceRule(allow: false),
            Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 3, access: "w"),
            Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 5, access: "rwm"),
        ]
        try cgroup.update(resources)
        #expect(
            try inside(["mknod other c 1 3", "echo >null", ": <null", "dd if=/dev/zero count=1 of=out"])
                == ["no", "yes", "no", "yes"]
        )
        resources.devices = [Spec.DeviceRule(allow: true)]
        try cgroup.update(resources)
        #expect(try inside(["mknod other c 1 3", ": <other"]) == ["yes", "yes"])
    }
}
