// SPDX-License-Identifier: Apache-2.0

import Glibc
import Launch
import LinuxSys
import SystemPackage

extension Container {
    /// Runs one more program in a running container: in its namespaces and its cgroup (`options.cgroup`, which must
    /// exist), with its seccomp filter.
    ///
    /// `container` is the specification it was started with, `pidfd` its first process. `process` says everything else,
    /// capabilities and limits included. `options.initProcess` is not looked at.
    package static func exec(
        _ process: Spec.Process,
        in container: Spec,
        pidfd: CInt,
        options: StartOptions
    ) throws(RuntimeError) -> StartingContainer {
        var options = options
        options.initProcess = false
        let hierarchies = CgroupHierarchies.detect()
        var composer = PlanComposer(container, options, hierarchies)
        let seccomp: SeccompProgram? =
            if let profile = container.linux.seccomp {
                try SeccompProgram.make(profile, cache: options.cache)
            } else {
                nil
            }
        var place = LaunchContext()
        var cgroupDirectory: SharedFD?
        if let path = options.cgroup, let hierarchies {
            let cgroup = Cgroup(path, in: hierarchies)
            if hierarchies.version == .v1 {
                try composer.joinV1(cgroup.directories())
            } else {
                let opened = try attempt("open cgroup \(path)") { () throws(SystemError) in
                    SharedFD(try Files.openDirectory(cgroup.directory("")))
                }
                place.cgroup = opened.raw
                cgroupDirectory = opened
            }
        }
        if let score = process.oomScoreAdj {
            composer.steps.append(.writeHost(Array("\(score)".utf8), path: "/proc/self/oom_score_adj"))
        }
        let kinds = container.linux.namespaces.reduce(into: Namespaces()) { $0.insert($1.kind) }
        if kinds.contains(.pid) { place.pidNamespace = pidfd }
        composer.steps.append(.enter(kinds.subtracting(.pid), descriptor: pidfd))
        composer.steps.append(.sessionKeyring)
        if case .terminal(let size) = options.io {
            composer.steps.append(.newSession)
            composer.steps.append(
                .terminal(
                    rows: size?.rows ?? 0,
                    columns: size?.columns ?? 0,
                    owner: process.user.uid,
                    console: false
                )
            )
        }
        try composer.process(process, seccomp: seccomp, createDirectory: false)
        do throws(LaunchError) {
            let launch = try LaunchPlan(composer.steps).launch(place)
            withExtendedLifetime((composer.held, cgroupDirectory)) {}
            return StartingContainer(launch: launch, cgroup: nil)
        } catch {
            throw RuntimeError(error)
        }
    }
}
