// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot
import Supervisor
import SystemPackage

extension Engine {
    /// Starts a container that does not run, in the background.
    ///
    /// One that runs stays as it is.
    package func start(_ name: String) throws {
        let record = try containers.find(name)
        if try state(of: record).isRunning { return }
        let container = try holdToStart(name)
        try undoing(container) { try supervise(container, client: nil) }
    }

    /// Starts a container and attaches to it; its exit code.
    package func start(_ name: String, _ attachment: Attachment) throws -> Int32 {
        try runAttached(try holdToStart(name), attachment)
    }

    private func holdToStart(_ name: String) throws -> HeldContainer {
        var container = try hold(name, to: "start")
        let now = Timestamp.now.nanosecondsSince1970
        try containers.markRunning(container.record.id, started: now)
        container.record.status = .running
        return container
    }

    /// Sends a signal to a container's first process.
    package func kill(_ name: String, signal: String) throws {
        let number = try Self.signal(signal)
        let record = try containers.find(name)
        guard let process = try process(of: record) else {
            throw EngineError(
                .conflict,
                "cannot kill container: \(name): container \(record.shortID) is not running"
            )
        }
        _ = try doing("send \(Signals.name(number)) to container \(name)") {
            try system("pidfd_send_signal") { clinux_pidfd_send_signal(process.raw, number) }
        }
        // A paused container cannot act on it; SIGKILL must end it all the same.
        if number == SIGKILL { try thaw(record) }
    }

    /// Asks a container to end, and after `timeout` seconds (-1: never) kills it.
    ///
    /// One that does not run is no error.
    package func stop(_ name: String, signal: String?, timeout: Int?) throws {
        let record = try containers.find(name)
        guard let process = try process(of: record) else { return }
        let number = try Self.signal(signal ?? (try? record.config.stopSignal) ?? "SIGTERM")
        let seconds = timeout ?? (try? record.config.stopTimeout) ?? 10
        try thaw(record)
        try doing("stop container \(name)") {
            try system("pidfd_send_signal") { clinux_pidfd_send_signal(process.raw, number) }
            if try !Self.waitForExit(of: process, milliseconds: seconds < 0 ? -1 : seconds * 1000) {
                try system("pidfd_send_signal") { clinux_pidfd_send_signal(process.raw, SIGKILL) }
                _ = try Self.waitForExit(of: process, milliseconds: -1)
            }
        }
        try waitUntilSettled(record)
    }

    /// Waits until a container has ended; its exit code.
    ///
    /// One that has ended answers at once.
    package func wait(_ name: String) throws -> Int32 {
        let record = try containers.find(name)
        let state = try state(of: record)
        if !state.isRunning { return state.exitCode }
        if let ended = try ContainerWait.end(root.containerRunPath(record.id)) { return ended.code }
        // Held by a `run --rm` in front, which leaves no record: its lock tells the end.
        if let process = try process(of: record) { _ = try Self.waitForExit(of: process, milliseconds: -1) }
        try waitUntilSettled(record)
        return try ExitRecord.read(root.containerRunPath(record.id))?.code ?? containers.exitCode(
            of: record.id
        ) ?? 137
    }

    /// Removes a container and its layer.
    ///
    /// - Parameter force: kills it first if it runs.
    package func remove(_ name: String, force: Bool) throws {
        let record = try containers.find(name)
        if try state(of: record).isRunning {
            guard force else {
                throw EngineError(
                    .conflict,
                    "cannot remove container \"\(name)\": container is running: stop the container before removing or force remove"
                )
            }
            do {
                try kill(record.id, signal: "KILL")
            } catch let error as EngineError where error.code == .conflict {}
            try waitUntilSettled(record)
        }
        try removing {
            do {
                try removeEnded(record, force: force)
            } catch let error as StorageError where error.code == .noSpace {
                guard try freeFiles(of: record) else { throw error }
                try removeEnded(record, force: force)
            }
        }
    }

    private func removeEnded(_ record: ContainerRecord, force: Bool) throws {
        let container: HeldContainer
        do {
            container = try hold(record.id, to: "remove", for: .removal)
        } catch let error as EngineError where error.code == .notFound && force {
            return  // it was an `--rm` container
        }
        try clearRunDirectory(of: record.id)
        try remove(container)
    }

    /// Frees the files of a container that is being removed before its row goes.
    ///
    /// To delete that takes a little space (btrfs), and somebody may have written what the store kept back. Killed after this it
    /// leaves a container that can only be removed.
    ///
    /// - Returns: whether there were any.
    private func freeFiles(of record: ContainerRecord) throws -> Bool {
        let lock = try lockContainer(record, to: "remove")
        defer { withExtendedLifetime(lock) {} }
        try endProcesses(of: record.id)
        guard let layer = try holdLayer(record.layer) else { return false }
        let driver = try layers.driver(layer.driver)
        guard try driver.holds(layer.id) else { return false }
        try driver.remove(layer.id)
        try driver.emptyTrash { Interruption.isRequested }
        layers.settleSpace { Interruption.isRequested }
        return true
    }

    // MARK: - Processes

    static func signal(_ text: String) throws -> CInt {
        guard let number = Signals.number(text) else { throw EngineError(.usage, "Invalid signal: \(text)") }
        return number
    }

    /// The container's first process, if it runs.
    ///
    /// Its number is good as long as somebody holds the container.
    func process(of record: ContainerRecord) throws -> SharedFD? {
        guard try state(of: record).isRunning else { return nil }
        for _ in 0..<500 {
            if let holder = try holder(of: record.id) {
                let process = try doing("find container \(record.shortID)") {
                    try systemAnswer("pidfd_open", expecting: .noSuchProcess) {
                        clinux_pidfd_open(holder.pid)
                    }
                }
                guard let process else { return nil }
                let descriptor = SharedFD(OwnedFD(adopting: process))
                return try root.isHeld(record.id) ? descriptor : nil
            }
            usleep(10_000)  // it is being started
            if try !root.isHeld(record.id) { return nil }
        }
        return nil
    }

    private static func waitForExit(of process: SharedFD, milliseconds: Int) throws -> Bool {
        var list = [pollfd(fd: process.raw, events: Int16(POLLIN), revents: 0)]
        return try system("poll") { poll(&list, 1, CInt(clamping: milliseconds)) } > 0
    }

    /// Waits until the holder of a container that has ended is done with it.
    private func waitUntilSettled(_ record: ContainerRecord) throws {
        for _ in 0..<1000 {
            if try !root.isHeld(record.id) { return }
            usleep(5_000)
        }
    }

    func thaw(_ record: ContainerRecord) throws {
        guard let cgroup = cgroup(of: record.id), cgroup.isFrozen else { return }
        try cgroup.thaw()
    }
}
