// SPDX-License-Identifier: Apache-2.0

import Launch
import LinuxSys

/// The process of a container that has begun before it is known what it will run: it makes its namespaces and file
/// systems beside the engine, which sees to image and layer.
///
/// Dropped, the process ends by itself and leaves nothing: it has no cgroup and no mount in anybody's table.
package struct BegunContainer: ~Copyable, Sendable {
    /// What such a process has made.
    struct Work: Sendable {
        var namespaces: [Spec.Namespace]
        /// By slot.
        var mounts: [Spec.Mount]

        func slot(of mount: Spec.Mount) -> Int? { mounts.firstIndex(of: mount) }
    }

    var launch: Launch
    let work: Work

    /// Whether it can become the container of `spec`: each mount and each of a few other things may need a descriptor.
    func fits(_ spec: Spec) -> Bool {
        spec.linux.namespaces == work.namespaces && spec.mounts.count + 32 <= Launch.mostSentDescriptors
    }
}

extension Container {
    /// Lets a container's process begin with the namespaces and file systems of `spec`; the rest of it is not looked at.
    ///
    /// `nil` where that is not possible or does not pay: for namespaces that others share or that need id maps, and on
    /// cgroup v2, where a process is best made inside its cgroup. Whoever gets `nil` starts the container as a whole.
    package static func begin(_ spec: Spec) -> BegunContainer? {
        guard let (plan, work) = beginning(of: spec),
            let launch = try? plan.launch(LaunchContext(namespaces: .pid), continues: true)
        else { return nil }
        return BegunContainer(launch: launch, work: work)
    }

    static func beginning(of spec: Spec) -> (plan: LaunchPlan, work: BegunContainer.Work)? {
        let new = spec.linux.newNamespaces
        guard new.contains(.mount), new.contains(.pid), !new.contains(.user),
            spec.linux.namespaces.allSatisfy({ $0.path == nil }),
            let hierarchies = CgroupHierarchies.detect(), hierarchies.version == .v1
        else { return nil }
        let mounts = spec.mounts.filter { !$0.isBind && $0.type != "cgroup" && $0.type != "cgroup2" }
        let work = BegunContainer.Work(
            namespaces: spec.linux.namespaces,
            mounts: Array(mounts.prefix(Launch.mostPreparedMounts))
        )
        var composer = PlanComposer(spec, StartOptions(), hierarchies)
        composer.begin(making: work.mounts)
        return (LaunchPlan(composer.steps), work)
    }
}

extension PlanComposer {
    /// The steps that need neither the root file system nor the cgroup.
    fileprivate mutating func begin(making mounts: [Spec.Mount]) {
        // The pid namespace came with the process; the cgroup's is for after joining.
        let namespaces = spec.linux.newNamespaces.subtracting([.pid, .cgroup])
        steps.append(.unshare(namespaces))
        if namespaces.contains(.network) { steps.append(.loopback) }
        for (slot, mount) in mounts.enumerated() {
            steps.append(
                .prepare(
                    slot: slot,
                    type: mount.type ?? "none",
                    source: mount.source,
                    options: MountOptions(mount.options).data
                )
            )
        }
    }
}
