// SPDX-License-Identifier: Apache-2.0

import CLinux

// Each set has its own literal: the standard library's is generic, and the runtime, asked for the first time, looks
// through all conformances of the program.

/// Kinds of namespaces (`CLONE_NEW*`).
package struct Namespaces: OptionSet, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(arrayLiteral flags: Self...) { rawValue = flags.reduce(0) { $0 | $1.rawValue } }

    package static let mount = Namespaces(rawValue: CLINUX_CLONE_NEWNS)
    package static let cgroup = Namespaces(rawValue: CLINUX_CLONE_NEWCGROUP)
    package static let uts = Namespaces(rawValue: CLINUX_CLONE_NEWUTS)
    package static let ipc = Namespaces(rawValue: CLINUX_CLONE_NEWIPC)
    package static let user = Namespaces(rawValue: CLINUX_CLONE_NEWUSER)
    package static let pid = Namespaces(rawValue: CLINUX_CLONE_NEWPID)
    package static let network = Namespaces(rawValue: CLINUX_CLONE_NEWNET)

    /// The names used in `/proc/<pid>/ns`, in a fixed order.
    package var names: [String] {
        let all: [(Namespaces, String)] = [
            (.user, "user"), (.mount, "mnt"), (.pid, "pid"), (.uts, "uts"), (.ipc, "ipc"),
            (.cgroup, "cgroup"),
            (.network, "net"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }

    package var description: String { names.joined(separator: ",") }
}

/// Attributes of one mount (`MOUNT_ATTR_*`).
package struct MountAttributes: OptionSet, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(arrayLiteral flags: Self...) { rawValue = flags.reduce(0) { $0 | $1.rawValue } }

    package static let readOnly = MountAttributes(rawValue: 0x1)
    package static let noSetUID = MountAttributes(rawValue: 0x2)
    package static let noDevices = MountAttributes(rawValue: 0x4)
    package static let noExec = MountAttributes(rawValue: 0x8)
    package static let noAccessTime = MountAttributes(rawValue: 0x10)
    package static let strictAccessTime = MountAttributes(rawValue: 0x20)
    package static let noDirectoryAccessTime = MountAttributes(rawValue: 0x80)
    package static let noSymlinkFollow = MountAttributes(rawValue: 0x20_0000)

    package var description: String {
        let all: [(MountAttributes, String)] = [
            (.readOnly, "ro"), (.noSetUID, "nosuid"), (.noDevices, "nodev"), (.noExec, "noexec"),
            (.noAccessTime, "noatime"), (.strictAccessTime, "strictatime"),
            (.noDirectoryAccessTime, "nodiratime"),
            (.noSymlinkFollow, "nosymfollow"),
        ]
        return all.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }
}

/// How mounts of a tree spread to its copies.
package enum Propagation: String, Sendable {
    case `private`
    case slave
    case shared
    case unbindable

    /// The `MS_*` bit.
    var flag: UInt64 {
        switch self {
        case .private: 1 << 18
        case .slave: 1 << 19
        case .shared: 1 << 20
        case .unbindable: 1 << 17
        }
    }
}

/// What a mount's target may be, and how it is made when it is missing.
package struct TargetKind: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(arrayLiteral flags: Self...) { rawValue = flags.reduce(0) { $0 | $1.rawValue } }

    package static let directory = TargetKind(rawValue: 1)
    package static let file = TargetKind(rawValue: 2)
    /// No symlink on the way: for the mounts that later steps rely on.
    package static let noSymlinks = TargetKind(rawValue: 4)
    /// A file system this kernel does not have is left out.
    package static let optional = TargetKind(rawValue: 8)
}
