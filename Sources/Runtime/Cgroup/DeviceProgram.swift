// SPDX-License-Identifier: Apache-2.0

import CLinux
import LinuxSys

/// Device rules as cgroup v2 takes them: a program that the kernel asks at each opening and making of a device node.
///
/// The specification's rules are those of v1: each changes what the ones before it said, one kind of access at a time. So
/// each access that is asked for is decided by the last rule that speaks of it, and all must be allowed; what no rule
/// speaks of is refused. The program goes through the rules from the last to the first and takes off the kinds of access
/// that are allowed until none is left.
package struct DeviceProgram: Sendable, Equatable {
    /// eBPF instructions as the kernel takes them.
    package let instructions: [UInt64]

    package init(_ rules: [Spec.DeviceRule]) throws(RuntimeError) {
        var code = EBPF()
        // What the kernel gives: access << 16 | type, major, minor.
        code.load(.type, offset: 0)
        code.move(.access, from: .type)
        code.and(.type, 0xFFFF)
        code.shiftRight(.access, 16)
        code.load(.major, offset: 4)
        code.load(.minor, offset: 8)
        for rule in rules.reversed() { try code.append(rule) }
        code.end(with: 0)
        instructions = code.instructions
    }

    /// Puts the program in the place of whatever device programs the cgroup has.
    func attach(to cgroup: CInt) throws(SystemError) {
        var others = [UInt32](repeating: 0, count: 64)
        var count = UInt32(others.count)
        try system("bpf", "query") { clinux_bpf_device_programs(cgroup, &others, &count) }
        let program = try load()
        try system("bpf", "attach") { clinux_bpf_attach_device_program(cgroup, program.raw) }
        // Of several programs each must allow, so the old ones go only when the new one speaks.
        for id in others.prefix(Int(count)) {
            let old = OwnedFD(adopting: try system("bpf", "program \(id)") { clinux_bpf_program_by_id(id) })
            try system("bpf", "detach") { clinux_bpf_detach_device_program(cgroup, old.raw) }
        }
    }

    private func load() throws(SystemError) -> OwnedFD {
        do throws(SystemError) {
            return OwnedFD(
                adopting: try system("bpf", "load") {
                    clinux_bpf_load_device_program(instructions, UInt32(instructions.count), nil, 0)
                }
            )
        } catch {
            // Once more for the reason, which costs time to write down.
            var log = [CChar](repeating: 0, count: 64 << 10)
            _ = clinux_bpf_load_device_program(
                instructions,
                UInt32(instructions.count),
                &log,
                UInt32(log.count)
            )
            let text = String(decoding: log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let last = text.split(separator: "\n").last { !$0.hasPrefix("processed") }
            throw SystemError(error.operation, last.map(String.init), error.errno)
        }
    }
}

extension EBPF {
    /// The decision of one rule.
    fileprivate mutating func append(_ rule: Spec.DeviceRule) throws(RuntimeError) {
        var bits: Int32 = 0
        for letter in rule.access.utf8 {
            switch letter {
            case UInt8(ascii: "m"): bits |= 1
            case UInt8(ascii: "r"): bits |= 2
            case UInt8(ascii: "w"): bits |= 4
            default: throw Self.refusal(rule, "its access is not of r, w and m")
            }
        }
        if bits == 0 { return }
        var tests: [(Register, Int32)] = []
        switch rule.type {
        case "a": break
        case "b": tests.append((.type, 1))
        case "c", "u": tests.append((.type, 2))
        default: throw Self.refusal(rule, "its type is none of a, b and c")
        }
        for (register, number) in [(Register.major, rule.major), (.minor, rule.minor)] {
            // As in v1 files, any negative number stands for all.
            guard let number, number >= 0 else { continue }
            guard let value = Int32(exactly: number) else {
                throw Self.refusal(rule, "\(number) is no device number")
            }
            tests.append((register, value))
        }
        let decision: EBPF =
            if rule.allow {
                EBPF {
                    $0.and(.access, ~bits)
                    $0.skip(2, unless: .access, equals: 0)
                    $0.end(with: 1)
                }
            } else {
                EBPF {
                    $0.skip(1, ifAnyOf: bits, in: .access)
                    $0.skip(2)
                    $0.end(with: 0)
                }
            }
        for (index, test) in tests.enumerated() {
            let remaining = tests.count - index - 1 + decision.instructions.count
            skip(Int16(remaining), unless: test.0, equals: test.1)
        }
        instructions += decision.instructions
    }

    private static func refusal(_ rule: Spec.DeviceRule, _ reason: String) -> RuntimeError {
        RuntimeError(.invalid, "device rule '\(rule.text)': \(reason)")
    }
}

/// The few eBPF instructions that a device program needs.
private struct EBPF {
    var instructions: [UInt64] = []

    enum Register: UInt8 {
        case result = 0
        case context = 1
        case type = 2
        case access = 3
        case major = 4
        case minor = 5
    }

    init() {}

    init(_ body: (inout EBPF) -> Void) { body(&self) }

    private mutating func emit(
        _ code: UInt8,
        _ target: Register = .result,
        _ source: Register = .result,
        offset: Int16 = 0,
        value: Int32 = 0
    ) {
        let registers = UInt64(source.rawValue << 4 | target.rawValue)
        instructions.append(
            UInt64(code) | registers << 8 | UInt64(UInt16(bitPattern: offset)) << 16
                | UInt64(UInt32(bitPattern: value)) << 32
        )
    }

    /// 32 bits of what the kernel gives.
    mutating func load(_ register: Register, offset: Int16) {
        emit(0x61, register, .context, offset: offset)  // BPF_LDX | BPF_MEM | BPF_W
    }

    mutating func move(_ register: Register, from other: Register) {
        emit(0xBF, register, other)  // BPF_ALU64 | BPF_MOV | BPF_X
    }

    mutating func and(_ register: Register, _ value: Int32) {
        emit(0x57, register, value: value)  // BPF_ALU64 | BPF_AND | BPF_K
    }

    mutating func shiftRight(_ register: Register, _ bits: Int32) {
        emit(0x77, register, value: bits)  // BPF_ALU64 | BPF_RSH | BPF_K
    }

    mutating func skip(_ count: Int16, unless register: Register, equals value: Int32) {
        emit(0x55, register, offset: count, value: value)  // BPF_JMP | BPF_JNE | BPF_K
    }

    mutating func skip(_ count: Int16, ifAnyOf bits: Int32, in register: Register) {
        emit(0x45, register, offset: count, value: bits)  // BPF_JMP | BPF_JSET | BPF_K
    }

    mutating func skip(_ count: Int16) {
        emit(0x05, offset: count)  // BPF_JMP | BPF_JA
    }

    /// The program's answer: 1 allows.
    mutating func end(with answer: Int32) {
        emit(0xB7, .result, value: answer)  // BPF_ALU64 | BPF_MOV | BPF_K
        emit(0x95)  // BPF_JMP | BPF_EXIT
    }
}
