// SPDX-License-Identifier: Apache-2.0

import CLinux
import CSeccomp
import Glibc
import LinuxSys
import SystemPackage

extension SeccompProgram {
    static func compile(_ profile: SeccompProfile) throws(RuntimeError) -> [UInt8] {
        guard cseccomp_load() == 0 else {
            throw RuntimeError(
                .unsupported,
                "compile the seccomp profile: libseccomp.so.2 is not installed",
                remedy: "apt-get install libseccomp2, or --security-opt seccomp=unconfined"
            )
        }
        if let instructions = SeccompRangeCompiler.compile(profile) { return instructions }
        return try compileWithLibrary(profile)
    }

    /// libseccomp's filter, behind a few instructions of our own for calls younger than the library.
    package static func compileWithLibrary(_ profile: SeccompProfile) throws(RuntimeError) -> [UInt8] {
        guard let context = cseccomp_init(profile.defaultAction.value) else {
            throw RuntimeError(
                .invalid,
                "seccomp: default action \(profile.defaultAction.name) is not possible"
            )
        }
        defer { cseccomp_release(context) }
        for architecture in try architectures(profile) { _ = cseccomp_arch_add(context, architecture) }
        // A binary tree by number; the library before 2.5 does not know how, and searches in line.
        _ = cseccomp_attr_set(context, 8, 2)  // SCMP_FLTATR_CTL_OPTIMIZE
        var young: [UInt32: SeccompAction] = [:]
        for rule in profile.rules where rule.action != profile.defaultAction {
            for name in rule.names {
                let number = cseccomp_resolve(name)
                if number != -1 {
                    try add(rule, number, name, to: context)
                } else if let known = youngCalls[name] {
                    young[known] = rule.action
                }
            }
        }
        return prologue(young, otherwise: profile.defaultAction) + (try export(context))
    }

    private static func add(
        _ rule: SeccompRule,
        _ number: CInt,
        _ name: String,
        to context: UnsafeMutableRawPointer
    ) throws(RuntimeError) {
        let compares = rule.compares.map {
            cseccomp_compare(argument: $0.index, operation: $0.operation.rawValue, a: $0.value, b: $0.second)
        }
        let result = cseccomp_rule_add(context, rule.action.value, number, UInt32(compares.count), compares)
        // EDOM: no call of that name on this architecture. EEXIST: an earlier rule says the same.
        if result != 0 && result != -EDOM && result != -EEXIST {
            let code = Errno(rawValue: -result)
            throw RuntimeError(.invalid, "seccomp rule for \(name): \(code)", errno: code)
        }
    }

    private static func export(_ context: UnsafeMutableRawPointer) throws(RuntimeError) -> [UInt8] {
        try attempt("compile the seccomp profile") { () throws(SystemError) in
            let file = OwnedFD(adopting: try system("memfd_create") { clinux_memfd_create("seccomp", 1) })
            let result = cseccomp_export_bpf(context, file.raw)
            if result != 0 { throw SystemError("seccomp_export_bpf", nil, Errno(rawValue: -result)) }
            try system("lseek") { lseek(file.raw, 0, SEEK_SET) }
            return try Files.contents(of: file.raw, limit: 1 << 20)
        }
    }

    private static func architectures(_ profile: SeccompProfile) throws(RuntimeError) -> [UInt32] {
        if profile.architectures.isEmpty { return compatible }
        var numbers: [UInt32] = []
        for name in profile.architectures {
            switch name {
            case "SCMP_ARCH_X86_64": numbers.append(0xC000_003E)
            case "SCMP_ARCH_X86": numbers.append(0x4000_0003)
            case "SCMP_ARCH_X32": numbers.append(0x4000_003E)
            case "SCMP_ARCH_AARCH64": numbers.append(0xC000_00B7)
            case "SCMP_ARCH_ARM": numbers.append(0x4000_0028)
            default: continue  // of another machine
            }
        }
        return numbers
    }

    #if arch(x86_64)
    private static let compatible: [UInt32] = [0x4000_0003, 0x4000_003E]
    #else
    private static let compatible: [UInt32] = [0x4000_0028]
    #endif

    /// Calls that the library may be too old to know; from 424 on, all architectures give them the same number.
    static let youngCalls: [String: UInt32] = [
        "futex_waitv": 449, "set_mempolicy_home_node": 450, "cachestat": 451, "fchmodat2": 452,
        "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456, "statmount": 457,
        "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
        "mseal": 462,
        "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
        "file_getattr": 468, "file_setattr": 469,
    ]

    /// The youngest call this compiler has an opinion on.
    ///
    /// Programs ask for younger ones and expect ENOSYS from a kernel that has them not; EPERM would be taken
    /// for a refusal.
    static let youngest: UInt32 = 469

    private static func prologue(_ calls: [UInt32: SeccompAction], otherwise: SeccompAction) -> [UInt8] {
        var code: [UInt8] = []
        let sorted = calls.sorted { $0.key < $1.key }
        let length = UInt8(clamping: 2 * sorted.count)
        func emit(_ operation: UInt16, _ ifTrue: UInt8, _ ifFalse: UInt8, _ value: UInt32) {
            withUnsafeBytes(of: operation) { code.append(contentsOf: $0) }
            code.append(ifTrue)
            code.append(ifFalse)
            withUnsafeBytes(of: value) { code.append(contentsOf: $0) }
        }
        let enforces = if case .errno = otherwise { true } else { false }
        emit(0x20, 0, 0, 0)  // load the number
        emit(0x35, length + 3, 0, 0x4000_0000)  // x32: on to the library's filter
        emit(0x35, 0, length + 2, 424)
        emit(0x25, 0, 1, enforces ? youngest : .max)
        emit(0x06, 0, 0, SeccompAction.errno(38).value)
        for (number, action) in sorted {
            emit(0x15, 0, 1, number)
            emit(0x06, 0, 0, action.value)
        }
        return code
    }
}
