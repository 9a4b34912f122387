// SPDX-License-Identifier: Apache-2.0

/// A set of capabilities (capabilities(7)).
package struct CapabilitySet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The one named `CAP_CHOWN`, `chown`, `cap_chown`; `nil` if there is none such.
    package init?(name: String) {
        var wanted = name.uppercased()
        if wanted.hasPrefix("CAP_") { wanted.removeFirst(4) }
        guard let number = Self.allNames.firstIndex(of: wanted) else { return nil }
        self.init(rawValue: 1 << UInt64(number))
    }

    /// What a container gets unless told otherwise: Docker's set.
    package static let containerDefault: CapabilitySet = {
        var set: CapabilitySet = []
        let names = [
            "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
        ]
        for name in names { if let one = CapabilitySet(name: name) { set.insert(one) } }
        return set
    }()

    /// All that this build knows of.
    package static let all = CapabilitySet(rawValue: (1 << UInt64(allNames.count)) - 1)

    /// `CAP_CHOWN` …, in the kernel's order.
    package var names: [String] {
        Self.allNames.enumerated().filter { rawValue >> UInt64($0.offset) & 1 == 1 }.map {
            "CAP_\($0.element)"
        }
    }

    /// By number.
    private static let allNames = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    ]
}
