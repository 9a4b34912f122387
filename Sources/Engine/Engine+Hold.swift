// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Supervisor
import SystemPackage

/// What a container is held for, which decides what is done on a full disk to record how it ended.
enum HoldPurpose {
    case change
    /// With the space that the store keeps back for that.
    case removal
    /// Nothing.
    case look
}

extension Engine {
    /// Takes hold of a container that does not run.
    ///
    /// Whatever a killed holder left running is ended first.
    ///
    /// - Parameter verb: for the message when it runs: `start`, `remove`.
    func hold(_ text: String, to verb: String, for purpose: HoldPurpose = .change) throws -> HeldContainer {
        let record = try containers.find(text)
        let lock = try lockContainer(record, to: verb)
        // Read again: it may have been removed, or have ended, before we had the lock.
        let current = try containers.find(record.id)
        try endWhatIsLeft(of: current, purpose)
        guard let layer = try holdLayer(current.layer) else {
            let place = try mountPoint(of: current.layer)
            let user = place.map { "mounted at \($0): strata layer unmount \($0)" } ?? "in use"
            throw EngineError(
                .conflict,
                "cannot \(verb) container \(text): its layer \(current.layer) is \(user)"
            )
        }
        let directory = try doing("open the directory of container \(current.shortID)") {
            try Files.openDirectory(root.containerPath(current.id))
        }
        return HeldContainer(
            record: try containers.find(record.id),
            lock: lock,
            layer: layer,
            directory: SharedFD(directory)
        )
    }

    /// The layer's lock; `nil` if somebody keeps it, and not for a moment only.
    func holdLayer(_ id: LayerID, _ mode: FileLock.Mode = .exclusive) throws -> HeldLayer? {
        for _ in 0..<50 {
            if let layer = try layers.hold(id, mode, wait: false) { return layer }
            if try mountPoint(of: id) != nil { break }
            usleep(10_000)
        }
        return nil
    }

    /// The container's lock, exclusively.
    ///
    /// Somebody who only looks at it holds it for a moment, so a refusal counts only when it lasts.
    func lockContainer(_ record: ContainerRecord, to verb: String) throws -> SharedFD {
        for _ in 0..<50 {
            if let lock = try root.lock(record.id, .exclusive, wait: false) {
                return SharedFD(lock.descriptor())
            }
            if try state(of: record).isRunning, try holder(of: record.id) != nil { break }
            usleep(10_000)
        }
        throw EngineError(
            .conflict,
            "cannot \(verb) container \(record.name): it is running or another command works on it"
        )
    }

    /// Ends and settles what a killed holder left: processes by their cgroup, the row's state, the run directory.
    private func endWhatIsLeft(of record: ContainerRecord, _ purpose: HoldPurpose) throws {
        guard record.status == .running else { return }
        try endProcesses(of: record.id)
        let state = try self.state(of: record)
        do {
            try containers.markExited(
                record.id,
                exitCode: state.isRunning ? 137 : state.exitCode,
                error: nil,
                finished: (state.finished ?? .now).nanosecondsSince1970,
                freesSpace: purpose == .removal
            )
        } catch let error as StorageError where purpose == .look {
            // The run directory goes on telling it.
            if error.code == .noSpace || error.errno == .readOnlyFileSystem { return }
            throw error
        }
        try clearRunDirectory(of: record.id)
    }

    /// Settles containers whose holder was killed: ends what is left of them, stores that they ended, removes
    /// those that were to be removed.
    ///
    /// Skips what somebody holds.
    ///
    /// Cost where there are none: one query, and a look at the lock of each container that runs.
    func recoverContainers() {
        let running: [String]
        do {
            running = try containers.running()
        } catch {
            return options.warn("look for containers whose holder was killed: \(error)")
        }
        for id in running {
            do {
                guard try !root.isHeld(id), let lock = try root.lock(id, .exclusive, wait: false) else {
                    continue
                }
                try recover(id, lock: SharedFD(lock.descriptor()))
            } catch let error as StorageError where error.code == .noSpace {
                // The run directory tells it meanwhile, and whoever removes something makes the space.
            } catch {
                options.warn("settle container \(id.prefix(12)), whose holder was killed: \(error)")
            }
        }
    }

    private func recover(_ id: String, lock: SharedFD) throws {
        // It may have been settled before we had the lock.
        guard let record = try? containers.find(id), record.status == .running else { return }
        try endWhatIsLeft(of: record, try record.config.removeWhenDone ? .removal : .change)
        guard try record.config.removeWhenDone, let layer = try layers.hold(record.layer, wait: false) else {
            return
        }
        let path = root.containerPath(id)
        try doing("make \(path)") { _ = try Files.ensureDirectory(path) }
        let directory = SharedFD(try doing("open \(path)") { try Files.openDirectory(path) })
        dispose(of: HeldContainer(record: record, lock: lock, layer: layer, directory: directory))
    }

    func clearRunDirectory(of id: String) throws {
        try doing("clear the run directory of container \(id.prefix(12))") {
            let path = root.containerRunPath(id)
            // What the holder of an `--rm` container leaves is this one file.
            try Files.unlink(path.appending(RunFile.state))
            if (try? Files.unlink(path, isDirectory: true)) == nil { try Files.removeTree(path) }
        }
    }
}
