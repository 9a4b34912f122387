// SPDX-License-Identifier: Apache-2.0

import Glibc
import Launch
import LinuxSys
import SystemPackage

extension PlanComposer {
    mutating func add(_ mount: Spec.Mount) throws(RuntimeError) {
        let mountOptions = MountOptions(mount.options)
        guard mount.destination.hasPrefix("/") else {
            throw RuntimeError(.invalid, "mount destination \(mount.destination) is not absolute")
        }
        if mount.isBind {
            try addBind(mount, mountOptions)
        } else if mount.type == "cgroup" || mount.type == "cgroup2" {
            addCgroup(mount, mountOptions)
        } else {
            try addFileSystem(mount, mountOptions)
        }
    }

    /// The source is opened here, by the engine: a detached clone of it goes to the child.
    private mutating func addBind(_ mount: Spec.Mount, _ mountOptions: MountOptions) throws(RuntimeError) {
        guard let source = mount.source else {
            throw RuntimeError(.invalid, "bind mount on \(mount.destination) has no source")
        }
        let path = source.hasPrefix("/") ? FilePath(source) : FilePath("./" + source)
        var isDirectory = false
        var tree: CInt = -1
        try attempt("bind \(source) on \(mount.destination)") { () throws(SystemError) in
            if isTrial, try Files.status(path) == nil { return }
            let clone = try DetachedMount.clone(path, below: AT_FDCWD, recursive: mountOptions.recursiveBind)
            isDirectory = try Files.status(of: clone.raw).kind == .directory
            tree = hold(clone)
        }
        steps.append(
            .attach(
                MountToAttach(
                    descriptor: tree,
                    target: mount.destination,
                    source: source,
                    set: mountOptions.set,
                    clear: mountOptions.clear,
                    propagation: mountOptions.propagation ?? .private,
                    recursive: mountOptions.recursiveAttributes,
                    targetKind: isDirectory ? .directory : .file
                )
            )
        )
    }

    private mutating func addFileSystem(
        _ mount: Spec.Mount,
        _ mountOptions: MountOptions
    ) throws(RuntimeError) {
        let type = mount.type ?? "none"
        if type == "sysfs" && hasUserNamespace && !spec.linux.newNamespaces.contains(.network) {
            // A user namespace may mount sysfs for its own network namespace only; the host's shows the same.
            try addBind(
                Spec.Mount(
                    destination: mount.destination,
                    type: "bind",
                    source: "/sys",
                    options: mount.options + ["rbind", "rro"]
                ),
                MountOptions(mount.options + ["rbind", "rro"])
            )
            return
        }
        var data = mountOptions.data
        if type == "devpts" && hasUserNamespace && !mapsGroup(5) {
            data.removeAll { $0.hasPrefix("gid=") }
        }
        // Later steps rely on these lying where they should.
        let fixed = ["/proc", "/dev", "/sys", "/dev/pts"].contains(mount.destination)
        var kind: TargetKind = fixed ? [.directory, .noSymlinks] : .directory
        if type == "mqueue" { kind.insert(.optional) }
        if let slot = begun?.slot(of: mount) {
            let step = LaunchStep.mountPrepared(
                slot: slot,
                type: type,
                target: mount.destination,
                attributes: mountOptions.set,
                targetKind: kind
            )
            return steps.append(step)
        }
        steps.append(
            .mount(
                type: type,
                source: mount.source,
                target: mount.destination,
                attributes: mountOptions.set,
                options: data,
                targetKind: kind
            )
        )
    }

    private func mapsGroup(_ gid: UInt32) -> Bool {
        spec.linux.gidMappings.contains { $0.containerID <= gid && gid - $0.containerID < $0.size }
    }

    /// With v2 the hierarchy itself; with v1 a directory with the controllers in which the container has a
    /// cgroup.
    ///
    /// The others would show the host's root.
    private mutating func addCgroup(_ mount: Spec.Mount, _ mountOptions: MountOptions) {
        guard let hierarchies, spec.linux.newNamespaces.contains(.cgroup) else { return }
        if hierarchies.version == .v2 {
            steps.append(
                .mount(
                    type: "cgroup2",
                    source: "cgroup",
                    target: mount.destination,
                    attributes: mountOptions.set,
                    options: [],
                    targetKind: .directory
                )
            )
            return
        }
        guard options.cgroup != nil else { return }
        steps.append(
            .mount(
                type: "tmpfs",
                source: "cgroup",
                target: mount.destination,
                attributes: mountOptions.set.subtracting(.readOnly),
                options: ["mode=755", "size=64k"],
                targetKind: .directory
            )
        )
        for controller in Cgroup.controllers(for: spec.linux.resources)
        where Self.isReadable(controller) {
            steps.append(
                .mount(
                    type: "cgroup",
                    source: "cgroup",
                    target: "\(mount.destination)/\(controller)",
                    attributes: mountOptions.set,
                    options: [controller],
                    targetKind: .directory
                )
            )
        }
        if mountOptions.set.contains(.readOnly) {
            steps.append(.setAttributes(.readOnly, path: mount.destination))
        }
    }

    /// Controllers whose limits programs read; the rest would be empty mounts, each at a price.
    private static func isReadable(_ controller: String) -> Bool {
        ["memory", "cpu", "cpuset", "pids"].contains(controller)
    }

    /// The default nodes and links, right after `/dev` is mounted.
    mutating func addDevices() {
        for device in SpecDefaults.devices { add(device) }
        for link in SpecDefaults.deviceLinks {
            steps.append(.symlink(target: link.target, path: link.path))
        }
    }

    mutating func addExtraDevices() throws(RuntimeError) {
        let defaults = Set(SpecDefaults.devices.map(\.path))
        for device in spec.linux.devices where !defaults.contains(device.path) {
            guard device.path.hasPrefix("/") else {
                throw RuntimeError(.invalid, "device path \(device.path) is not absolute")
            }
            if let slash = device.path.lastIndex(of: "/"), slash > device.path.startIndex {
                let parent = String(device.path[..<slash])
                if parent != "/dev" { steps.append(.makeDirectory(path: parent, mode: 0o755)) }
            }
            add(device)
        }
    }

    /// A node of the container's own; in a user namespace, which may not make one, the host's is bound.
    private mutating func add(_ device: Spec.Device) {
        if hasUserNamespace {
            steps.append(
                .bindDevice(host: device.path, target: device.path, major: device.major, minor: device.minor)
            )
            return
        }
        let type: FileKind =
            switch device.type {
            case "b": .blockDevice
            case "p": .fifo
            default: .characterDevice
            }
        steps.append(
            .makeNode(
                path: device.path,
                mode: device.fileMode | type.formatBits,
                major: device.major,
                minor: device.minor,
                uid: device.uid,
                gid: device.gid
            )
        )
    }
}
