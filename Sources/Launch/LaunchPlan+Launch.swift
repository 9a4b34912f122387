// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
import SystemPackage

/// Where a launched process begins.
package struct LaunchContext: Sendable {
    /// New namespaces made with the process.
    ///
    /// A cgroup namespace is better made by a step, after joining the cgroup.
    package var namespaces: Namespaces
    /// A cgroup2 directory in which the process starts.
    package var cgroup: CInt?
    /// A pid namespace (of a running container) in which the process starts.
    package var pidNamespace: CInt?

    package init(namespaces: Namespaces = [], cgroup: CInt? = nil, pidNamespace: CInt? = nil) {
        self.namespaces = namespaces
        self.cgroup = cgroup
        self.pidNamespace = pidNamespace
    }
}

private let closeOnExec: UInt32 = 1  // MFD_CLOEXEC

extension LaunchPlan {
    /// Starts the plan in a new process and returns while it works; `Launch.finish` waits until the program runs.
    ///
    /// If the plan sets a parent death signal, that parent is the calling *thread*: it must live as long as the
    /// container (the main thread does).
    ///
    /// - Parameter continues: whether the process waits after these steps for those that `Launch.proceed` gives it.
    package func launch(
        _ context: LaunchContext = LaunchContext(),
        continues: Bool = false
    ) throws(LaunchError) -> Launch {
        do throws(SystemError) {
            let sockets = try ControlPair()
            let plan = try Self.file(encoded(control: sockets.theirs.raw, continues: continues))
            let keep = Array(Set(descriptors + [sockets.theirs.raw, plan.raw]))
            let program = try Interpreter.descriptor()
            var pidfd: CInt = -1
            var memory: UnsafeMutableRawPointer?
            let pid = try system("clone3") {
                keep.withUnsafeBufferPointer { kept in
                    "\(plan.raw)".withCString { argument in
                        var launch = clinux_launch()
                        launch.namespaces = context.namespaces.rawValue
                        launch.cgroup = context.cgroup ?? -1
                        launch.pid_namespace = context.pidNamespace ?? -1
                        launch.program = program
                        launch.argument = argument
                        launch.keep = kept.baseAddress
                        launch.keep_count = CInt(kept.count)
                        launch.control = sockets.theirs.raw
                        return continues
                            ? clinux_launch_concurrently(&launch, &pidfd, &memory)
                            : clinux_launch(&launch, &pidfd)
                    }
                }
            }
            return Launch(
                plan: self,
                pid: pid,
                pidfd: OwnedFD(adopting: pidfd),
                control: sockets.keepOurs(),
                memory: LaunchMemory(memory)
            )
        } catch {
            throw LaunchError(error)
        }
    }

    fileprivate static func file(_ bytes: [UInt8]) throws(SystemError) -> OwnedFD {
        let file = OwnedFD(
            adopting: try system("memfd_create plan") { clinux_memfd_create("plan", closeOnExec) }
        )
        try Files.writeAll(bytes, to: file.raw)
        return file
    }
}

/// The two ends of the socket between the engine and the interpreter.
private struct ControlPair: ~Copyable {
    let ours: OwnedFD
    let theirs: OwnedFD

    init() throws(SystemError) {
        var pair: [2 of CInt] = [-1, -1]
        try system("socketpair") {
            var ends = pair.mutableSpan
            return ends.withUnsafeMutableBufferPointer { clinux_seqpacket_pair($0.baseAddress) }
        }
        ours = OwnedFD(adopting: pair[0])
        theirs = OwnedFD(adopting: pair[1])
    }

    consuming func keepOurs() -> OwnedFD { ours }
}

/// What a process that was launched beside this one uses of its memory until its program runs.
///
/// It stays allocated where nobody finds out that it does.
private struct LaunchMemory: @unchecked Sendable {
    private let address: UnsafeMutableRawPointer?

    init(_ address: UnsafeMutableRawPointer?) { self.address = address }

    func free() { Glibc.free(address) }
}

/// A process that carries out its plan.
///
/// `finish` must follow, unless the process is to be left to itself: a process
/// that waits for a descriptor of ours ends when that is closed.
package struct Launch: ~Copyable, Sendable {
    private var plan: LaunchPlan
    package let pid: CInt
    package let pidfd: OwnedFD
    private let control: OwnedFD
    private let memory: LaunchMemory

    fileprivate init(
        plan: LaunchPlan,
        pid: CInt,
        pidfd: consuming OwnedFD,
        control: consuming OwnedFD,
        memory: LaunchMemory
    ) {
        self.memory = memory
        self.plan = plan
        self.pid = pid
        self.pidfd = pidfd
        self.control = control
    }

    /// How many descriptors the rest of a plan may use.
    package static let mostSentDescriptors = Int(CLINUX_PLAN_MOST_DESCRIPTORS)
    /// How many slots there are for `LaunchStep.prepare`.
    package static let mostPreparedMounts = Int(CLINUX_PLAN_MOST_PREPARED)

    /// Gives a process that was launched with `continues` the rest of its steps.
    ///
    /// What these name stays open until this returns. That the process has failed meanwhile is told by `finish`.
    package mutating func proceed(_ rest: LaunchPlan) throws(LaunchError) {
        let descriptors = Array(Set(rest.descriptors))
        let socket = control.raw
        do throws(SystemError) {
            let file = try LaunchPlan.file(rest.encoded(sending: descriptors))
            let sent = [file.raw] + descriptors
            _ = try systemAnswer("send the plan", expecting: .brokenPipe, .connectionReset) {
                clinux_send_descriptors(socket, sent, CInt(sent.count))
            }
            withExtendedLifetime(file) {}
        } catch {
            throw LaunchError(error)
        }
        plan.steps += rest.steps
    }

    /// Kills the process and waits for its end.
    package consuming func abandon() {
        let process = LaunchedProcess(pid: pid, pidfd: pidfd)
        try? process.signal(SIGKILL)
        _ = try? process.wait()
    }

    /// Waits until the container's program runs.
    ///
    /// On failure the process is dead and waited for.
    package consuming func finish() throws(LaunchError) -> LaunchedProcess {
        var terminal: OwnedFD?
        var failure: LaunchError?
        while failure == nil {
            do throws(SystemError) {
                guard let message = try receive(terminal: &terminal) else { break }
                if message.kind != CLINUX_PLAN_FAILED { continue }
                let index = Int(message.index)
                let errno = Errno(rawValue: message.error)
                failure =
                    plan.steps.indices.contains(index)
                    ? LaunchError(step: plan.steps[index], errno: errno) : LaunchError("launch", errno)
            } catch {
                failure = LaunchError(error)
            }
        }
        let memory = memory
        let process = LaunchedProcess(pid: pid, pidfd: pidfd, terminal: terminal)
        guard let failure else {
            // The other end of the socket is closed, so the process is done with what it used of ours.
            memory.free()
            return process
        }
        try? process.signal(SIGKILL)
        if (try? process.wait()) != nil { memory.free() }
        throw failure
    }

    /// The next message; `nil` when the other end is closed, by the exec or by death.
    private borrowing func receive(terminal: inout OwnedFD?) throws(SystemError) -> clinux_plan_message? {
        var message = clinux_plan_message()
        var descriptor: CInt = -1
        let socket = control.raw
        let count = try system("receive") {
            clinux_receive(socket, &message, UInt(MemoryLayout<clinux_plan_message>.size), &descriptor)
        }
        if descriptor >= 0 { terminal = OwnedFD(adopting: descriptor) }
        return count == 0 ? nil : message
    }
}
