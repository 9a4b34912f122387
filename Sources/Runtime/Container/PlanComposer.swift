// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Launch
import LinuxSys
import SystemPackage

/// Turns a specification into the steps of a launch plan.
///
/// The order matters: everything of the host is taken before the pivot; mounts that later steps rely on (`/proc`,
/// `/dev`) come in the specification's order; credentials fall last, and the seccomp filter after them.
struct PlanComposer {
    let spec: Spec
    let options: StartOptions
    let hierarchies: CgroupHierarchies?
    /// What the process has made already, if it began before all was known.
    let begun: BegunContainer.Work?
    /// Whether the plan is only looked at, so that what a start would make first may be missing.
    let isTrial: Bool
    var steps: [LaunchStep] = []
    /// Descriptors that the steps name and that must stay open until the process has them.
    var held: [SharedFD] = []

    var hasUserNamespace: Bool { spec.linux.newNamespaces.contains(.user) }

    init(
        _ spec: Spec,
        _ options: StartOptions,
        _ hierarchies: CgroupHierarchies?,
        after begun: BegunContainer.Work? = nil,
        isTrial: Bool = false
    ) {
        self.spec = spec
        self.options = options
        self.hierarchies = hierarchies
        self.begun = begun
        self.isTrial = isTrial
    }

    mutating func hold(_ fd: consuming OwnedFD) -> CInt {
        let shared = SharedFD(fd)
        held.append(shared)
        return shared.raw
    }

    /// Namespaces to join, cgroup, identity of the machine.
    mutating func context(cgroup: Cgroup?, idMapsWritten: CInt?) throws(RuntimeError) {
        // What is made below has the mode that it is made with, whatever the caller's umask.
        steps.append(.umask(0))
        if let cgroup, cgroup.hierarchies.version == .v1 {
            try joinV1(Cgroup.controllers(for: spec.linux.resources).map(cgroup.directory))
        }
        if let score = spec.process.oomScoreAdj {
            steps.append(.writeHost(Array("\(score)".utf8), path: "/proc/self/oom_score_adj"))
        }
        if let idMapsWritten {
            steps.append(.wait(descriptor: idMapsWritten, for: "the id maps"))
            // Root of the new namespace: what it makes from here on belongs to the mapped root.
            steps.append(.user(uid: 0, gid: 0, groups: []))
            steps.append(.capabilities(effective: .max, permitted: .max, inheritable: 0, ambient: 0))
        }
        for namespace in spec.linux.namespaces {
            guard let path = namespace.path else { continue }
            let fd = try attempt("open namespace \(path)") { () throws(SystemError) in
                try Files.open(path, O_RDONLY)
            }
            steps.append(.enter(namespace.kind, descriptor: hold(fd)))
        }
        // After joining the cgroup, which becomes the namespace's root.
        if spec.linux.newNamespaces.contains(.cgroup) { steps.append(.unshare(.cgroup)) }
        steps.append(.sessionKeyring)
        if let name = spec.hostname { steps.append(.hostname(name)) }
        if let name = spec.domainname { steps.append(.domainname(name)) }
        if begun == nil, spec.linux.newNamespaces.contains(.network) { steps.append(.loopback) }
    }

    /// The child writes `0` to each `tasks` itself: moving it by its pid through `cgroup.procs` waits for an RCU grace
    /// period, 7.5 ms.
    mutating func joinV1(_ directories: [FilePath]) throws(RuntimeError) {
        for directory in directories {
            let file = directory.appending("tasks")
            let fd = try attempt("open \(file)") { () throws(SystemError) in try Files.open(file, O_WRONLY) }
            steps.append(.write([UInt8(ascii: "0")], descriptor: hold(fd), name: file.string))
        }
    }

    /// From the host's mounts to the container's root, with everything in it mounted.
    mutating func fileSystem(_ root: consuming ContainerRoot) throws(RuntimeError) {
        steps.append(.propagation(.slave))
        switch consume root {
        case .mount(let mount):
            steps.append(.attachRoot(descriptor: hold(mount)))
        case .idMappedFileSystem(let home, let type, let directory, let data):
            steps.append(.attachHome(descriptor: hold(home)))
            steps.append(.mountRoot(type: type, directory: directory, data: data))
        case .idMappedDirectory(let home, let directory):
            steps.append(.attachHome(descriptor: hold(home)))
            steps.append(.cloneRoot(directory: directory))
        }
        steps.append(.rootAttributes([], .private))
        var hasDevices = false
        for mount in spec.mounts {
            try add(mount)
            if mount.destination == "/dev" && !mount.isBind {
                hasDevices = true
                addDevices()
            }
        }
        if hasDevices || !spec.linux.devices.isEmpty { try addExtraDevices() }
        for (name, value) in spec.linux.sysctl.sorted(by: { $0.key < $1.key }) {
            steps.append(.sysctl(name: Self.sysctlPath(name), value: value))
        }
        for path in spec.linux.readonlyPaths { steps.append(.makeReadOnly(path: path)) }
        for path in spec.linux.maskedPaths { steps.append(.mask(path: path)) }
        if case .terminal(let size) = options.io {
            steps.append(.newSession)
            steps.append(
                .terminal(
                    rows: size?.rows ?? 0,
                    columns: size?.columns ?? 0,
                    owner: spec.process.user.uid,
                    console: true
                )
            )
        }
        let propagation = try rootPropagation()
        if spec.root.readonly || propagation != nil {
            steps.append(.rootAttributes(spec.root.readonly ? .readOnly : [], propagation))
        }
        steps.append(.pivot)
    }

    /// `net.ipv4.ip_forward` or with slashes; a dot inside a name is written as a slash in the dotted form.
    private static func sysctlPath(_ name: String) -> String {
        name.contains("/") ? name : String(name.map { $0 == "." ? "/" : $0 })
    }

    private func rootPropagation() throws(RuntimeError) -> Propagation? {
        switch spec.linux.rootfsPropagation {
        case nil, "", "private", "rprivate": nil
        case "slave", "rslave": .slave
        case "shared", "rshared": .shared
        case "unbindable", "runbindable": .unbindable
        case let other?: throw RuntimeError(.invalid, "rootfsPropagation \(other) is not known")
        }
    }
}
