// SPDX-License-Identifier: Apache-2.0

import Launch

extension PlanComposer {
    /// The process itself, from its limits to its program.
    ///
    /// Also what `exec` does, after entering the namespaces.
    mutating func process(
        _ process: Spec.Process,
        seccomp: SeccompProgram?,
        createDirectory: Bool = true
    ) throws(RuntimeError) {
        guard let program = process.args.first else {
            throw RuntimeError(.invalid, "the container has no program to run")
        }
        for limit in process.rlimits {
            guard let number = Self.limits.firstIndex(of: limit.type) else {
                throw RuntimeError(.invalid, "resource limit \(limit.type) is not known")
            }
            steps.append(
                .resourceLimit(
                    name: limit.type,
                    resource: UInt32(number),
                    soft: limit.soft,
                    hard: limit.hard
                )
            )
        }
        switch options.io {
        case .descriptors(let input, let output, let error):
            steps.append(.newSession)
            steps.append(.standardIO(input: input, output: output, error: error))
        case .terminal:
            steps.append(.controllingTerminal)
        }
        steps.append(.changeDirectory(path: process.cwd.isEmpty ? "/" : process.cwd, create: createDirectory))
        steps.append(.umask(process.user.umask ?? 0o022))
        credentials(process, seccomp: seccomp)
        if let gate = options.gate { steps.append(.wait(descriptor: gate, for: "the start")) }
        steps.append(.closeRest)
        if options.initProcess { steps.append(.stayAsInit) }
        steps.append(
            .execute(
                program: program,
                arguments: process.args,
                environment: process.env,
                searchPath: Self.searchPath(process.env)
            )
        )
    }

    /// The last PATH of the environment, as execvp(3) would see it.
    private static func searchPath(_ environment: [String]) -> String {
        let entry = environment.last { $0.hasPrefix("PATH=") }
        return entry.map { String($0.dropFirst(5)) } ?? String(SpecDefaults.path.dropFirst(5))
    }

    /// Without no_new_privs the filter can only be loaded with CAP_SYS_ADMIN, which is kept until then.
    private mutating func credentials(_ process: Spec.Process, seccomp: SeccompProgram?) {
        let user = process.user
        let sets = process.capabilities
        if let sets { steps.append(.boundingSet(sets.bounding.rawValue)) }
        steps.append(.user(uid: user.uid, gid: user.gid, groups: user.additionalGids))
        if process.noNewPrivileges { steps.append(.noNewPrivileges) }
        let filter = seccomp.map { LaunchStep.seccomp(flags: $0.flags, program: $0.instructions) }
        if let filter, !process.noNewPrivileges { steps.append(filter) }
        if let sets { steps.append(capabilities(sets, user)) }
        if let signal = options.parentDeathSignal { steps.append(.parentDeathSignal(signal)) }
        if let filter, process.noNewPrivileges { steps.append(filter) }
    }

    /// A user other than root has what is ambient only; a program's file capabilities add to it at the exec.
    private func capabilities(_ sets: Spec.CapabilitySets, _ user: Spec.User) -> LaunchStep {
        let ambient = sets.ambient.intersection(sets.inheritable).intersection(sets.permitted)
        let isRoot = user.uid == 0
        return .capabilities(
            effective: isRoot ? sets.effective.rawValue : ambient.rawValue,
            permitted: isRoot ? sets.permitted.rawValue : ambient.rawValue,
            inheritable: sets.inheritable.rawValue,
            ambient: ambient.rawValue
        )
    }

    /// `RLIMIT_*` by number.
    private static let limits = [
        "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS",
        "RLIMIT_NPROC",
        "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
    ]
}
