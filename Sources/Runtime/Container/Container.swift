// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import Launch
import LinuxSys
import SystemPackage

/// Starts containers.
package enum Container {
    /// Starts the container that `spec` describes on `root`, and returns while its process is still on its way:
    /// `StartingContainer.finish` waits until the program runs.
    ///
    /// `spec.root.path` is not looked at. The cgroup, if `options` name one, is made here.
    ///
    /// - Parameter begun: its process, if that began before.
    package static func start(
        _ spec: Spec,
        root: consuming ContainerRoot,
        options: StartOptions,
        begun: consuming BegunContainer? = nil
    ) throws(RuntimeError) -> StartingContainer {
        let hierarchies = CgroupHierarchies.detect()
        let seccomp: SeccompProgram? =
            if let profile = spec.linux.seccomp {
                try SeccompProgram.make(profile, cache: options.cache)
            } else {
                nil
            }
        var cgroup: Cgroup?
        if let path = options.cgroup {
            guard let hierarchies else {
                throw RuntimeError(.unsupported, "no cgroups are mounted at /sys/fs/cgroup")
            }
            let made = Cgroup(path, in: hierarchies)
            try made.create(spec.linux.resources)
            cgroup = made
        }
        do throws(RuntimeError) {
            if let hierarchies, let begun = consume begun, begun.fits(spec) {
                return try proceed(begun, spec, consume root, options, hierarchies, cgroup, seccomp)
            }
            return try launch(spec, consume root, options, hierarchies, cgroup, seccomp)
        } catch {
            try? cgroup?.remove()
            throw error
        }
    }

    /// The plan of such a start, for `--dry-run`: nothing is made or started, and any mount stands for the root.
    ///
    /// - Parameter begins: whether its process would begin before (`begin`).
    package static func plan(
        _ spec: Spec,
        options: StartOptions,
        begins: Bool = false
    ) throws(RuntimeError) -> LaunchPlan {
        let first = begins ? beginning(of: spec) : nil
        let hierarchies = CgroupHierarchies.detect()
        var composer = PlanComposer(spec, options, hierarchies, after: first?.work, isTrial: true)
        let maps = composer.hasUserNamespace ? options.gate ?? 3 : nil
        try composer.context(cgroup: nil, idMapsWritten: maps)
        let root = try attempt("open /") { () throws(SystemError) in try Files.open("/", O_RDONLY) }
        try composer.fileSystem(.mount(root))
        try composer.process(spec.process, seccomp: nil)
        return LaunchPlan((first?.plan.steps ?? []) + composer.steps)
    }

    private static func proceed(
        _ begun: consuming BegunContainer,
        _ spec: Spec,
        _ root: consuming ContainerRoot,
        _ options: StartOptions,
        _ hierarchies: CgroupHierarchies,
        _ cgroup: Cgroup?,
        _ seccomp: SeccompProgram?
    ) throws(RuntimeError) -> StartingContainer {
        var composer = PlanComposer(spec, options, hierarchies, after: begun.work)
        try composer.context(cgroup: cgroup, idMapsWritten: nil)
        try composer.fileSystem(consume root)
        try composer.process(spec.process, seccomp: seccomp)
        do throws(LaunchError) {
            try begun.launch.proceed(LaunchPlan(composer.steps))
            withExtendedLifetime(composer.held) {}
            return StartingContainer(launch: begun.launch, cgroup: cgroup)
        } catch {
            throw RuntimeError(error)
        }
    }

    private static func launch(
        _ spec: Spec,
        _ root: consuming ContainerRoot,
        _ options: StartOptions,
        _ hierarchies: CgroupHierarchies?,
        _ cgroup: Cgroup?,
        _ seccomp: SeccompProgram?
    ) throws(RuntimeError) -> StartingContainer {
        var composer = PlanComposer(spec, options, hierarchies)
        let maps: Pipe? =
            composer.hasUserNamespace
            ? try attempt("make a pipe") { () throws(SystemError) in try Pipe() } : nil
        try composer.context(cgroup: cgroup, idMapsWritten: maps?.reader.raw)
        try composer.fileSystem(consume root)
        try composer.process(spec.process, seccomp: seccomp)
        var place = LaunchContext(namespaces: spec.linux.newNamespaces.subtracting(.cgroup))
        var cgroupDirectory: SharedFD?
        if let cgroup, cgroup.hierarchies.version == .v2 {
            let path = cgroup.directory("")
            let opened = try attempt("open \(path)") { () throws(SystemError) in
                SharedFD(try Files.openDirectory(path))
            }
            place.cgroup = opened.raw
            cgroupDirectory = opened
        }
        do throws(LaunchError) {
            let launch = try LaunchPlan(composer.steps).launch(place)
            withExtendedLifetime((composer.held, cgroupDirectory)) {}
            if let go = maps?.writer.raw {
                do throws(LaunchError) {
                    try IDMaps.write(spec.linux, pid: launch.pid, then: go)
                } catch {
                    launch.abandon()
                    throw error
                }
            }
            return StartingContainer(launch: launch, cgroup: cgroup)
        } catch {
            throw RuntimeError(error)
        }
    }
}

/// A container whose process carries out its plan.
package struct StartingContainer: ~Copyable, Sendable {
    private let launch: Launch
    private let cgroup: Cgroup?

    init(launch: consuming Launch, cgroup: Cgroup?) {
        self.launch = launch
        self.cgroup = cgroup
    }

    /// Of the engine's pid namespace.
    package var pid: CInt { launch.pid }

    /// Ends it before its program runs; nothing is left.
    package consuming func abandon() {
        let group = cgroup
        launch.abandon()
        try? group?.remove()
    }

    /// Waits until the container's program runs.
    ///
    /// On failure nothing is left: no process, no cgroup.
    package consuming func finish() throws(RuntimeError) -> RunningContainer {
        let group = cgroup
        do throws(LaunchError) {
            return RunningContainer(process: try launch.finish(), cgroup: group)
        } catch {
            try? group?.remove()
            throw RuntimeError(error)
        }
    }
}

/// A container whose program runs.
package struct RunningContainer: ~Copyable, Sendable {
    /// Its first process; holds the terminal's master if it has a terminal.
    package var process: LaunchedProcess
    package let cgroup: Cgroup?

    package var pid: CInt { process.pid }

    package init(process: consuming LaunchedProcess, cgroup: Cgroup?) {
        self.process = process
        self.cgroup = cgroup
    }

    /// Waits for the end of the first process; the kernel then kills the rest of its pid namespace.
    ///
    /// The cgroup stays until `Cgroup.remove`, so that it can still say what was used and whether memory ran out.
    package borrowing func wait() throws(RuntimeError) -> ProcessExit {
        do throws(SystemError) { return try process.wait() } catch {
            throw RuntimeError(error, doing: "wait for the container")
        }
    }

    package borrowing func signal(_ number: CInt) throws(RuntimeError) {
        do throws(SystemError) { try process.signal(number) } catch {
            throw RuntimeError(error, doing: "send signal \(Signals.name(number)) to the container")
        }
    }
}

final class Pipe: Sendable {
    let reader: OwnedFD
    let writer: OwnedFD

    init() throws(SystemError) {
        var pair: [2 of CInt] = [-1, -1]
        try system("pipe") {
            var ends = pair.mutableSpan
            return ends.withUnsafeMutableBufferPointer { clinux_pipe($0.baseAddress) }
        }
        reader = OwnedFD(adopting: pair[0])
        writer = OwnedFD(adopting: pair[1])
    }
}
