// SPDX-License-Identifier: Apache-2.0

/// One step of a launch plan: one thing the interpreter does in the new process, before the container's program.
///
/// Paths are inside the container's root to be and are resolved there by the kernel, never leaving it, unless a case
/// says host. Descriptors keep the engine's numbers in the new process.
package enum LaunchStep: Sendable, Equatable {
    /// Waits for one byte on `descriptor`; ends the process if the other side closes it.
    case wait(descriptor: CInt, for: String)
    case write([UInt8], descriptor: CInt, name: String)
    case writeHost([UInt8], path: String)
    case unshare(Namespaces)
    case enter(Namespaces, descriptor: CInt)
    case hostname(String)
    case domainname(String)
    case sessionKeyring
    /// Of the whole mount tree the process starts in.
    case propagation(Propagation)

    /// A detached mount becomes the root to be.
    case attachRoot(descriptor: CInt)
    /// A detached mount from which the next step makes the root.
    case attachHome(descriptor: CInt)
    /// mount(2) whose data names are relative to `directory` of the attached home; the result is the root to be.
    case mountRoot(type: String, directory: String, data: String)
    /// A directory of the attached home is the root to be.
    case cloneRoot(directory: String)
    case rootAttributes(MountAttributes, Propagation?)
    case pivot

    /// Options are `key` or `key=value`, as fsconfig(2) takes them.
    case mount(
        type: String,
        source: String?,
        target: String,
        attributes: MountAttributes,
        options: [String],
        targetKind: TargetKind
    )
    case attach(MountToAttach)
    /// A file system that `mountPrepared` mounts when there is a root; slots count from 0.
    case prepare(slot: Int, type: String, source: String?, options: [String])
    /// `type` is for messages.
    case mountPrepared(
        slot: Int,
        type: String,
        target: String,
        attributes: MountAttributes,
        targetKind: TargetKind
    )
    /// A device node of the host, checked to be that device.
    case bindDevice(host: String, target: String, major: UInt32, minor: UInt32)
    case makeDirectory(path: String, mode: UInt32)
    /// `mode` with the type bits.
    case makeNode(path: String, mode: UInt32, major: UInt32, minor: UInt32, uid: UInt32, gid: UInt32)
    case symlink(target: String, path: String)
    case mask(path: String)
    case makeReadOnly(path: String)
    /// Of the mount whose root is at `path`.
    case setAttributes(MountAttributes, path: String)
    /// `name` with slashes: `net/ipv4/ip_forward`.
    case sysctl(name: String, value: String)
    case loopback

    case resourceLimit(name: String, resource: UInt32, soft: UInt64, hard: UInt64)
    case newSession
    case standardIO(input: CInt, output: CInt, error: CInt)
    /// A pair from the container's own devpts: its master comes back to the engine.
    case terminal(rows: UInt16, columns: UInt16, owner: UInt32, console: Bool)
    case controllingTerminal
    case changeDirectory(path: String, create: Bool)
    case umask(UInt32)
    /// Capabilities that stay in the bounding set.
    case boundingSet(UInt64)
    case user(uid: UInt32, gid: UInt32, groups: [UInt32])
    case capabilities(effective: UInt64, permitted: UInt64, inheritable: UInt64, ambient: UInt64)
    case noNewPrivileges
    /// A program of `sock_filter` instructions.
    case seccomp(flags: UInt32, program: [UInt8])
    case parentDeathSignal(CInt)
    /// Everything above 2 is closed by the coming exec.
    case closeRest
    /// The interpreter stays as init and goes on in a child.
    case stayAsInit
    case execute(program: String, arguments: [String], environment: [String], searchPath: String)
}

/// A detached mount that goes to `target` inside the root.
package struct MountToAttach: Sendable, Equatable {
    package var descriptor: CInt
    package var target: String
    /// For messages: where it came from.
    package var source: String
    package var set: MountAttributes
    package var clear: MountAttributes
    package var propagation: Propagation?
    /// Whether `set` and `clear` reach the mounts below.
    package var recursive: Bool
    package var targetKind: TargetKind

    package init(
        descriptor: CInt,
        target: String,
        source: String,
        set: MountAttributes = [],
        clear: MountAttributes = [],
        propagation: Propagation? = .private,
        recursive: Bool = false,
        targetKind: TargetKind = .directory
    ) {
        self.descriptor = descriptor
        self.target = target
        self.source = source
        self.set = set
        self.clear = clear
        self.propagation = propagation
        self.recursive = recursive
        self.targetKind = targetKind
    }
}
