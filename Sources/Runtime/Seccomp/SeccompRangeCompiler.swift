// SPDX-License-Identifier: Apache-2.0

import CSeccomp

/// Compiles a list of allowed calls to a binary search over ranges of numbers.
///
/// Most of what a filter costs at a start is the kernel's translation of it, which grows with its length; allowed
/// numbers lie together, so this is a fifth of what libseccomp makes. libseccomp still knows the numbers. Profiles
/// with architectures, flags of their own or comparisons not written here are left to it.
struct SeccompRangeCompiler {
    /// What happens to a call.
    private enum Answer: Hashable {
        case action(UInt32)
        /// An index of `conditions`.
        case conditional(Int)
    }

    private var code = SeccompAssembler()
    private var conditions: [[SeccompRule]] = []
    private let otherwise: SeccompAction

    /// The program, or `nil` if the profile is not of the kind.
    static func compile(_ profile: SeccompProfile) -> [UInt8]? {
        guard profile.architectures.isEmpty, case .errno = profile.defaultAction else { return nil }
        let known: [SeccompCompare.Operation] = [.less, .equal, .maskedEqual]
        for rule in profile.rules {
            for compare in rule.compares
            where !known.contains(compare.operation)
                || compare.operation == .less && compare.value > 0xFFFF_FFFF
            {
                return nil
            }
        }
        var compiler = SeccompRangeCompiler(otherwise: profile.defaultAction)
        return compiler.compile(profile.rules)
    }

    private init(otherwise: SeccompAction) { self.otherwise = otherwise }

    private mutating func compile(_ rules: [SeccompRule]) -> [UInt8] {
        var bodies: [SeccompAssembler] = []
        for architecture in Self.architectures { bodies.append(body(rules, architecture)) }
        code.load(4)  // the architecture
        var ahead = 2 * Self.architectures.count + 1
        for (architecture, body) in zip(Self.architectures, bodies) {
            // Two instructions for each architecture, then the end for any other, then the bodies.
            ahead -= 2
            code.jump(0x15, 0, 1, architecture)
            code.always(UInt32(ahead))
            ahead += body.count
        }
        code.answer(SeccompAction.killProcess.value)
        for body in bodies { code.append(body) }
        return code.bytes
    }

    #if arch(x86_64)
    private static let architectures: [UInt32] = [0xC000_003E, 0x4000_0003]
    #else
    private static let architectures: [UInt32] = [0xC000_00B7, 0x4000_0028]
    #endif

    /// Calls that 32-bit x86 had inside `socketcall` and `ipc` first, and by themselves later; the library gives them
    /// numbers of its own.
    private static let directOnX86: [String: UInt32] = [
        "recvmmsg": 337, "sendmmsg": 345, "socket": 359, "socketpair": 360, "bind": 361, "connect": 362,
        "listen": 363, "accept4": 364, "getsockopt": 365, "setsockopt": 366, "getsockname": 367,
        "getpeername": 368,
        "sendto": 369, "sendmsg": 370, "recvfrom": 371, "recvmsg": 372, "shutdown": 373, "semget": 393,
        "semctl": 394,
        "shmget": 395, "shmctl": 396, "shmat": 397, "shmdt": 398, "msgget": 399, "msgsnd": 400, "msgrcv": 401,
        "msgctl": 402,
    ]

    private mutating func body(_ rules: [SeccompRule], _ architecture: UInt32) -> SeccompAssembler {
        var answers: [UInt32: [SeccompRule]] = [:]
        for rule in rules {
            for name in rule.names {
                let number = cseccomp_resolve_on(architecture, name)
                if number >= 0 {
                    answers[UInt32(number), default: []].append(rule)
                } else if architecture == 0x4000_0003, let direct = Self.directOnX86[name] {
                    answers[direct, default: []].append(rule)
                } else if number == -1, let young = SeccompProgram.youngCalls[name] {
                    answers[young, default: []].append(rule)
                }
            }
        }
        var assembler = SeccompAssembler()
        assembler.load(0)  // the number
        let parts = segments(answers)  // it adds to `conditions`, which `emit` reads
        emit(parts[...], to: &assembler)
        return assembler
    }

    /// Runs of numbers with the same answer, by their first; what is past the youngest call is unknown, ENOSYS, but for
    /// the architecture's own calls up there.
    private mutating func segments(_ rules: [UInt32: [SeccompRule]]) -> [(start: UInt32, answer: Answer)] {
        var result: [(start: UInt32, answer: Answer)] = [(0, .action(otherwise.value))]
        func add(_ start: UInt32, _ answer: Answer) {
            if result[result.count - 1].start == start { result.removeLast() }
            if result.last?.answer != answer { result.append((start, answer)) }
        }
        let youngest = SeccompProgram.youngest
        let unknown = Answer.action(SeccompAction.errno(38).value)
        for (number, found) in rules.sorted(by: { $0.key < $1.key }) {
            if number > youngest { add(max(youngest + 1, result[result.count - 1].start), unknown) }
            if let plain = found.first(where: { $0.compares.isEmpty }) {
                add(number, .action(plain.action.value))
            } else {
                conditions.append(found)
                add(number, .conditional(conditions.count - 1))
            }
            add(number + 1, number < youngest ? .action(otherwise.value) : unknown)
        }
        if result[result.count - 1].start <= youngest { add(youngest + 1, unknown) }
        return result
    }

    private func emit(
        _ segments: ArraySlice<(start: UInt32, answer: Answer)>,
        to assembler: inout SeccompAssembler
    ) {
        guard segments.count > 1 else {
            if let only = segments.first { emit(only.answer, to: &assembler) }
            return
        }
        let middle = segments.startIndex + segments.count / 2
        var low = SeccompAssembler()
        emit(segments[..<middle], to: &low)
        if low.count <= 255 {
            assembler.jump(0x35, UInt8(low.count), 0, segments[middle].start)
        } else {
            assembler.jump(0x35, 0, 1, segments[middle].start)
            assembler.always(UInt32(low.count))
        }
        assembler.append(low)
        emit(segments[middle...], to: &assembler)
    }

    private func emit(_ answer: Answer, to assembler: inout SeccompAssembler) {
        switch answer {
        case .action(let value):
            assembler.answer(value)
        case .conditional(let index):
            for rule in conditions[index] {
                var checks = SeccompAssembler()
                // From the last comparison back, so that each knows how far it is to the rule's end.
                for compare in rule.compares.reversed() {
                    var one = SeccompAssembler()
                    one.check(compare, after: UInt8(clamping: checks.count + 1))
                    one.append(checks)
                    checks = one
                }
                assembler.append(checks)
                assembler.answer(rule.action.value)
            }
            assembler.answer(otherwise.value)
        }
    }
}

/// Instructions (`sock_filter`) one after the other; jumps are relative, so pieces can be put together.
struct SeccompAssembler {
    private(set) var bytes: [UInt8] = []

    var count: Int { bytes.count / 8 }

    mutating func jump(_ operation: UInt16, _ ifTrue: UInt8, _ ifFalse: UInt8, _ value: UInt32) {
        withUnsafeBytes(of: operation) { bytes.append(contentsOf: $0) }
        bytes.append(ifTrue)
        bytes.append(ifFalse)
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    mutating func load(_ offset: UInt32) { jump(0x20, 0, 0, offset) }
    mutating func always(_ distance: UInt32) { jump(0x05, 0, 0, distance) }
    mutating func answer(_ value: UInt32) { jump(0x06, 0, 0, value) }
    mutating func append(_ other: SeccompAssembler) { bytes.append(contentsOf: other.bytes) }

    /// Goes on behind this check if the argument compares as wanted, else `after` instructions further.
    mutating func check(_ compare: SeccompCompare, after: UInt8) {
        let low = 16 + 8 * compare.index
        let mask = compare.operation == .maskedEqual ? compare.value : .max
        let wanted = compare.operation == .maskedEqual ? compare.second : compare.value
        let masked = compare.operation == .maskedEqual
        load(low + 4)
        if masked { jump(0x54, 0, 0, UInt32(truncatingIfNeeded: mask >> 32)) }
        let rest: UInt8 = masked ? 3 : 2
        if compare.operation == .less {
            jump(0x15, 0, rest + after, 0)
            load(low)
            jump(0x35, after, 0, UInt32(truncatingIfNeeded: wanted))
        } else {
            jump(0x15, 0, rest + after, UInt32(truncatingIfNeeded: wanted >> 32))
            load(low)
            if masked { jump(0x54, 0, 0, UInt32(truncatingIfNeeded: mask)) }
            jump(0x15, 0, after, UInt32(truncatingIfNeeded: wanted))
        }
    }
}
