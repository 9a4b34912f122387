// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import Launch
import LayerStore
import LinuxSys
package import Runtime
import Storage
import StoreRoot
package import Supervisor
import SystemPackage

/// How the terminal or the pipes of a command meet a container's.
package struct Attachment: Sendable {
    /// Standard input is passed on.
    package var input = false
    /// Signals that come to this process go to the container.
    package var proxiesSignals = true
    package var detachKeys = DetachKeys.standard

    package init() {}
}

extension Engine {
    /// Makes a container, runs it in front, and gives its exit code.
    ///
    /// With `--rm` and without a terminal this process is the holder: its descriptors are the container's. Otherwise a
    /// supervisor holds it and this process is attached to that.
    ///
    /// - Parameter begun: what `begin` gave for these options.
    package func run(
        _ options: ContainerOptions,
        _ attachment: Attachment,
        begun: consuming BegunContainer? = nil
    ) throws -> Int32 {
        guard options.isHeldInFront else {
            return try runAttached(try make(options, status: .running), attachment)
        }
        root.database.leaveLog()
        return try runHere(try make(options, status: .running), attachment, begun)
    }

    /// Lets the process of a container begin that `run` will hold in front, before the engine has opened its store.
    ///
    /// `nil` where there is nothing to gain.
    package static func begin(_ options: ContainerOptions) -> BegunContainer? {
        guard options.isHeldInFront, !options.userNamespace else { return nil }
        let size = options.sharedMemorySize ?? ContainerConfig.defaultSharedMemorySize
        return Container.begin(ContainerConfig.isolation(network: options.network, sharedMemorySize: size))
    }

    /// Makes a container and leaves it running in the background.
    package func runDetached(_ options: ContainerOptions) throws -> ContainerRecord {
        let container = try make(options, status: .running)
        try undoing(container) { try supervise(container, client: nil) }
        return container.record
    }

    /// The steps that `run` with these options would take in the new process, one a line.
    ///
    /// Makes nothing.
    package func launchPlan(_ options: ContainerOptions) throws -> String {
        let image = try images.resolve(options.image)
        let id = ContainerNames.randomID()
        let config = try configuration(options, image: image, id: id)
        let spec = try config.spec(id: id, directory: root.containerPath(id))
        var start = StartOptions(initProcess: config.usesInit, cgroup: spec.linux.cgroupsPath)
        if config.terminal { start.io = .terminal(nil) }
        return "\(try Container.plan(spec, options: start, begins: options.isHeldInFront))"
    }

    // MARK: - This process holds it

    private func runHere(
        _ container: HeldContainer,
        _ attachment: Attachment,
        _ begun: consuming BegunContainer?
    ) throws -> Int32 {
        let id = container.record.id
        let relay = try SignalRelay.of(attachment.proxiesSignals ? Self.proxiedSignals : [])
        var code: Int32 = 125
        do {
            let input = attachment.input ? nil : SharedFD(try Files.open("/dev/null", O_RDONLY))
            let io = ContainerIO.descriptors(input: input?.raw ?? 0, output: 1, error: 2)
            let running = try start(container, io: io, begun)
            code = try held(running, of: container.record, relay).code
            // The container has ended: what its cgroup still holds up must not change how it did.
            do { try running.cgroup?.end() } catch {
                options.warn("remove the cgroup of container \(container.record.shortID): \(error)")
            }
        } catch {
            try? clearRunDirectory(of: id)
            dispose(of: container)
            throw error
        }
        try clearRunDirectory(of: id)
        dispose(of: container)
        return code
    }

    /// Waits for a container that this process holds; when that fails, ends it, since its layer goes with it.
    private func held(
        _ running: borrowing RunningContainer,
        of record: ContainerRecord,
        _ relay: borrowing SignalRelay
    ) throws -> ProcessExit {
        do {
            try publishHolder(of: record)
            // While the container runs, and nothing waits for this process.
            root.database.shortenLog()
            return try wait(for: running, relay)
        } catch {
            try? running.signal(SIGKILL)
            _ = try? running.wait()
            try? running.cgroup?.remove()
            throw error
        }
    }

    /// What Docker passes on: all that a program can catch but those that concern this process alone.
    private static let proxiedSignals: [CInt] = [
        SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGALRM, SIGVTALRM, SIGIO, SIGXCPU, SIGCONT,
        SIGTSTP,
    ]

    func wait(for running: borrowing RunningContainer, _ relay: borrowing SignalRelay) throws -> ProcessExit {
        while true {
            var list = [
                pollfd(fd: running.process.pidfd.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: relay.fd, events: Int16(POLLIN), revents: 0),
            ]
            try system("poll") { poll(&list, nfds_t(list.count), -1) }
            if list[1].revents != 0 { for signal in relay.next() { try? running.signal(signal) } }
            if list[0].revents != 0 { return try running.wait() }
        }
    }

    /// Starts the container's process with this process as its holder.
    private func start(
        _ container: HeldContainer,
        io: ContainerIO,
        _ begun: consuming BegunContainer?
    ) throws -> RunningContainer {
        let launch = try prepareLaunch(of: container, isHeldHere: true)
        var options = launch.options
        options.io = io
        var begun = begun
        return try Self.starting {
            let starting = try Container.start(
                launch.spec,
                root: launch.root(),
                options: options,
                begun: begun.take()
            )
            do {
                // While the new process is busy with its mounts.
                try prepareHolder(of: container.record, pid: starting.pid)
            } catch {
                starting.abandon()
                throw error
            }
            return try starting.finish()
        }
    }

    /// A start that the runtime refuses ends the command with Docker's code: 125, 126 or 127.
    static func starting<T: ~Copyable>(_ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as RuntimeError {
            throw StartFailure(error.description, code: error.exitCode)
        }
    }

    // MARK: - Whoever holds it

    /// Takes the container away, for `--rm` and after a start that failed.
    ///
    /// What cannot be removed now is left to recovery.
    func dispose(of container: HeldContainer) {
        do { try remove(container) } catch { willBeTriedAgain(container, error) }
    }

    /// Removes the container: its rows, and then what they named, of which recovery removes what cannot be removed now.
    ///
    /// An error says that it is all still there.
    func remove(_ container: HeldContainer) throws {
        let id = container.record.id
        try root.database.transaction(durable: false, freesSpace: true) { transaction in
            _ = try transaction.run("DELETE FROM containers WHERE id = ?", [.text(id)])
            try layers.deleteRow(container.layer.id, in: transaction)
        }  // commit point
        do {
            layers.discard(container.layer)
            try ContainerFiles.remove(container.directory.raw, at: root.containerPath(id))
            root.removeLock(id)
            try layers.driver(container.layer.driver).emptyTrash { Interruption.isRequested }
        } catch {
            willBeTriedAgain(container, error)
        }
    }

    private func willBeTriedAgain(_ container: HeldContainer, _ error: any Error) {
        options.warn("remove container \(container.record.shortID): \(error); it will be tried again")
    }

    /// A start that fails leaves what Docker leaves: nothing of an `--rm` container, else a container that never ran.
    func undoing<T>(_ container: HeldContainer, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch {
            // A supervisor that was killed while it started leaves a cgroup, and perhaps a process on its way.
            try? endProcesses(of: container.record.id)
            try? clearRunDirectory(of: container.record.id)
            if (try? container.record.config.removeWhenDone) == true {
                dispose(of: container)
            } else {
                let code = (error as? StartFailure)?.code ?? 125
                try? containers.markUnstarted(container.record, exitCode: code, error: "\(error)")
            }
            throw error
        }
    }

    /// The run directory of a container that starts: empty and there.
    func makeRunDirectory(of id: String) throws {
        try root.makeRunDirectory()
        try doing("make the run directory of container \(id.prefix(12))") {
            let path = root.containerRunPath(id)
            if try !Files.ensureDirectory(path) {
                try Files.removeTree(path)
                try Files.makeDirectory(path)
            }
        }
    }

    private static let unpublishedState = ".state"

    /// Writes what `publishHolder` publishes when the container's program runs: before, its process still has the
    /// host's mounts, and nobody may enter them.
    private func prepareHolder(of record: ContainerRecord, pid: CInt) throws {
        try makeRunDirectory(of: record.id)
        let path = root.containerRunPath(record.id).appending(Self.unpublishedState)
        let holder = HolderRecord(pid: pid, started: .now, supervisor: getpid())
        try doing("record container \(record.shortID)") {
            let file = try Files.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            try Files.writeAll(holder.json.bytes(), to: file.raw)
        }
    }

    private func publishHolder(of record: ContainerRecord) throws {
        let path = root.containerRunPath(record.id)
        try doing("record container \(record.shortID)") {
            try Files.rename(path.appending(Self.unpublishedState), to: path.appending(RunFile.state))
        }
    }
}
