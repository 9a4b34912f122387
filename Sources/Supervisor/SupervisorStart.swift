// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LinuxSys
package import SystemPackage

/// Starts supervisors, and receives their jobs.
package enum SupervisorStart {
    /// The processes of a container that has been started.
    package struct Started: Hashable, Sendable {
        package var container: CInt
        /// A child of the caller until that ends.
        package var supervisor: CInt
    }

    /// Starts `program` (strata-supervisor) with `job` and waits until its container runs.
    ///
    /// The descriptors that the job names are inherited under their numbers (all above 2) and stay open here too:
    /// close them after. `job.report` is made here.
    package static func start(_ program: FilePath, _ job: SupervisorJob) throws -> Started {
        try start([program.string], job.descriptors) { report in
            var job = job
            job.report = report
            return job.json
        }
    }

    /// Starts `program` (strata-supervisor) with `job` and waits until the mount stands; descriptors as above.
    package static func start(_ program: FilePath, _ job: MountJob) throws -> Started {
        try start([program.string, "mount"], job.descriptors) { report in
            var job = job
            job.report = report
            return job.json
        }
    }

    private static func start(
        _ words: [String],
        _ descriptors: [CInt],
        _ job: (_ report: CInt) -> JSON
    ) throws -> Started {
        let report = try Pipe()
        let text = OwnedFD(
            adopting: try system("memfd_create") { clinux_memfd_create("job", 1) }
        )
        try Files.writeAll(job(report.input.raw).bytes(), to: text.raw)
        let inherited = [text.raw, report.input.raw] + descriptors
        let pid = try ChildProgram(words + ["\(text.raw)"], descriptors: inherited).spawn()
        switch try StartReport(report.finish()) {
        case .started(let container): return Started(container: container, supervisor: pid)
        case .failed(let message, let code):
            reap(pid)
            throw StartFailure(message, code: code)
        case nil:
            reap(pid)
            throw StartFailure("\(words[0]) ended before it had started what it was to hold")
        }
    }

    private static func reap(_ pid: CInt) {
        var status: CInt = 0
        _ = try? system("waitpid") { waitpid(pid, &status, 0) }
    }

    /// Reads the job in an inherited descriptor and takes the descriptors it names.
    ///
    /// For the main program of a supervisor.
    package static func job(inheritedAt text: String) throws(StartFailure) -> SupervisorJob {
        try job(inheritedAt: text, SupervisorJob.init) { $0.descriptors + [$0.report] }
    }

    /// The same for the holder of a layer's mount.
    package static func mountJob(inheritedAt text: String) throws(StartFailure) -> MountJob {
        try job(inheritedAt: text, MountJob.init) { $0.descriptors + [$0.report] }
    }

    private static func job<Job>(
        inheritedAt text: String,
        _ parse: (JSON) -> Job?,
        _ descriptors: (Job) -> [CInt]
    ) throws(StartFailure) -> Job {
        guard let fd = CInt(text), fd > 2 else { throw StartFailure("\(text) is no inherited descriptor") }
        do {
            try system("lseek") { lseek(fd, 0, SEEK_SET) }
            let bytes = try Files.contents(of: fd, limit: 64 << 20)
            _ = close(fd)
            guard let job = parse(try JSON.parse(bytes, limits: JSONLimits(size: 64 << 20))) else {
                throw StartFailure("the job lacks something")
            }
            for fd in descriptors(job) {
                try system("fcntl", "descriptor \(fd)") { clinux_set_close_on_exec(fd, 1) }
            }
            return job
        } catch {
            throw error as? StartFailure ?? StartFailure("the job cannot be read: \(error)")
        }
    }

    /// A pipe with both ends here until `finish`.
    private struct Pipe: ~Copyable {
        let output: OwnedFD
        let input: OwnedFD

        init() throws(SystemError) {
            var pair: [CInt] = [-1, -1]
            try system("pipe") { clinux_pipe(&pair) }
            output = OwnedFD(adopting: pair[0])
            input = OwnedFD(adopting: pair[1])
        }

        /// Closes our writing end and reads what the others write until they have closed theirs.
        consuming func finish() throws(SystemError) -> [UInt8] {
            let output = output
            try input.close()
            return try Files.contents(of: output.raw, limit: 64 << 10)
        }
    }
}
