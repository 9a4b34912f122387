// SPDX-License-Identifier: Apache-2.0

/// Which system calls a container may make: the `linux.seccomp` object, or a profile file in Docker's form.
package struct SeccompProfile: Sendable, Equatable {
    package var defaultAction: SeccompAction
    /// Besides the native one, `SCMP_ARCH_*`; empty: the native one and what it can run.
    package var architectures: [String] = []
    /// Names of `SECCOMP_FILTER_FLAG_*`.
    package var flags: [String] = []
    package var rules: [SeccompRule] {
        get { ownRules ?? standard.map(Self.defaultRules) ?? [] }
        set {
            ownRules = newValue
            standard = nil
        }
    }

    private var ownRules: [SeccompRule]?
    /// Set while this is the default profile for these capabilities: most starts need no more of it than its name.
    private(set) var standard: CapabilitySet?

    package init(defaultAction: SeccompAction) { self.defaultAction = defaultAction }

    init(standard: CapabilitySet) {
        defaultAction = .errno(1)
        self.standard = standard
    }

    package static func == (left: SeccompProfile, right: SeccompProfile) -> Bool {
        left.defaultAction == right.defaultAction && left.architectures == right.architectures
            && left.flags == right.flags
            && (left.standard != nil && left.standard == right.standard || left.rules == right.rules)
    }
}

package enum SeccompAction: Sendable, Equatable, Hashable {
    case allow
    case killProcess
    case killThread
    case trap
    case log
    case errno(UInt16)
    case trace(UInt16)

    /// `SCMP_ACT_*`, which is the kernel's `SECCOMP_RET_*`.
    var value: UInt32 {
        switch self {
        case .allow: 0x7FFF_0000
        case .killProcess: 0x8000_0000
        case .killThread: 0
        case .trap: 0x0003_0000
        case .log: 0x7FFC_0000
        case .errno(let code): 0x0005_0000 | UInt32(code)
        case .trace(let code): 0x7FF0_0000 | UInt32(code)
        }
    }

    init(name: String, errno: UInt64?) throws(RuntimeError) {
        let code = UInt16(truncatingIfNeeded: min(errno ?? 1, 4095))
        switch name {
        case "SCMP_ACT_ALLOW": self = .allow
        case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD": self = .killThread
        case "SCMP_ACT_KILL_PROCESS": self = .killProcess
        case "SCMP_ACT_TRAP": self = .trap
        case "SCMP_ACT_LOG": self = .log
        case "SCMP_ACT_ERRNO": self = .errno(code)
        case "SCMP_ACT_TRACE": self = .trace(code)
        default: throw RuntimeError(.unsupported, "seccomp action \(name) is not known")
        }
    }

    var name: String {
        switch self {
        case .allow: "SCMP_ACT_ALLOW"
        case .killProcess: "SCMP_ACT_KILL_PROCESS"
        case .killThread: "SCMP_ACT_KILL_THREAD"
        case .trap: "SCMP_ACT_TRAP"
        case .log: "SCMP_ACT_LOG"
        case .errno: "SCMP_ACT_ERRNO"
        case .trace: "SCMP_ACT_TRACE"
        }
    }

    var code: UInt16? {
        switch self {
        case .errno(let code), .trace(let code): code
        default: nil
        }
    }
}

/// System calls that get an action, if their arguments are as `compares` says (all of them).
package struct SeccompRule: Sendable, Equatable {
    package var names: [String]
    package var action: SeccompAction
    package var compares: [SeccompCompare]

    package init(_ names: [String], _ action: SeccompAction, _ compares: [SeccompCompare] = []) {
        self.names = names
        self.action = action
        self.compares = compares
    }
}

package struct SeccompCompare: Sendable, Equatable {
    /// By libseccomp's numbers (`SCMP_CMP_*`).
    package enum Operation: Int32, Sendable, CaseIterable {
        case notEqual = 1
        case less
        case lessOrEqual
        case equal
        case greaterOrEqual
        case greater
        case maskedEqual

        var name: String {
            switch self {
            case .notEqual: "SCMP_CMP_NE"
            case .less: "SCMP_CMP_LT"
            case .lessOrEqual: "SCMP_CMP_LE"
            case .equal: "SCMP_CMP_EQ"
            case .greaterOrEqual: "SCMP_CMP_GE"
            case .greater: "SCMP_CMP_GT"
            case .maskedEqual: "SCMP_CMP_MASKED_EQ"
            }
        }
    }

    package var index: UInt32
    package var operation: Operation
    package var value: UInt64
    package var second: UInt64

    package init(_ index: UInt32, _ operation: Operation, _ value: UInt64, _ second: UInt64 = 0) {
        self.index = index
        self.operation = operation
        self.value = value
        self.second = second
    }
}
