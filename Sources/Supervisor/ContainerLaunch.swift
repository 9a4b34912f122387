// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import Launch
import LinuxSys
import Runtime
import SystemPackage

/// Starts the container of a job through the runtime.
///
/// The job's `launch` holds `spec` (an OCI runtime specification), `init`, `cgroup`, `cache`, and where the root comes
/// from: `mount` (a descriptor); or `home` (a descriptor) with `directory`, or with `fileSystem` (`type`,
/// `directory`, `data`).
package enum ContainerLaunch {
    package static func start(_ job: SupervisorJob, _ stdio: ContainerStdio?) throws -> any HeldContainer {
        do {
            guard let json = job.launch["spec"] else { throw StartFailure("the job has no specification") }
            let spec = try Spec(json)
            let io: ContainerIO =
                if let stdio {
                    .descriptors(input: stdio.input, output: stdio.output, error: stdio.error)
                } else {
                    .terminal(spec.process.consoleSize)
                }
            let options = StartOptions(
                io: io,
                initProcess: job.launch["init"]?.bool ?? false,
                parentDeathSignal: SIGKILL,
                cache: job.launch["cache"]?.string.map { FilePath($0) },
                cgroup: job.launch["cgroup"]?.string
            )
            let starting = try Container.start(spec, root: try root(job.launch), options: options)
            return RuntimeContainer(try starting.finish())
        } catch let error as RuntimeError {
            throw StartFailure(error.description, code: error.exitCode)
        }
    }

    /// The descriptors of the job stay its own: the start gets duplicates.
    private static func root(_ launch: JSON) throws -> ContainerRoot {
        if let mount = launch["mount"]?.int { return .mount(try duplicate(mount)) }
        guard let home = launch["home"]?.int else { throw StartFailure("the job has no root") }
        if let directory = launch["directory"]?.string {
            return .idMappedDirectory(home: try duplicate(home), directory: directory)
        }
        guard let system = launch["fileSystem"], let type = system["type"]?.string,
            let directory = system["directory"]?.string, let data = system["data"]?.string
        else { throw StartFailure("the job has no root") }
        return .idMappedFileSystem(home: try duplicate(home), type: type, directory: directory, data: data)
    }

    private static func duplicate(_ number: Int) throws -> OwnedFD {
        guard let fd = CInt(exactly: number) else { throw StartFailure("descriptor \(number) is none") }
        return OwnedFD(adopting: try system("fcntl", "descriptor \(fd)") { fcntl(fd, F_DUPFD_CLOEXEC, 3) })
    }
}

/// A container started by the runtime.
private final class RuntimeContainer: HeldContainer {
    private let container: RunningContainer

    init(_ container: consuming RunningContainer) {
        self.container = container
    }

    var pid: CInt { container.pid }
    var pidfd: CInt { container.process.pidfd.raw }
    var terminal: CInt? {
        switch container.process.terminal {
        case .some(let master): master.raw
        case .none: nil
        }
    }

    func signal(_ number: CInt) throws {
        try container.signal(number)
        // A frozen process of cgroup v1 dies when it thaws.
        if number == SIGKILL, let cgroup = container.cgroup, cgroup.isFrozen { try cgroup.thaw() }
    }

    func pause() throws { try cgroup().freeze() }
    func resume() throws { try cgroup().thaw() }

    private func cgroup() throws -> Cgroup {
        guard let cgroup = container.cgroup else {
            throw StartFailure("the container has no cgroup, without which it cannot be paused")
        }
        return cgroup
    }

    func finish() throws -> (code: CInt, outOfMemory: Bool) {
        let exit = try container.wait()
        guard let cgroup = container.cgroup else { return (exit.code, false) }
        let kills = cgroup.statistics().outOfMemoryKills ?? 0
        // What is left of it must not fail the rest: whoever takes the container's lock next tries again.
        try? cgroup.end()
        return (exit.code, kills > 0)
    }
}
