// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import JSON
import LayerStore
package import LinuxSys
import Storage
import StoreRoot
import Supervisor
import SystemPackage

/// What a container does now: the row's memory, corrected by what lives only while the machine runs.
package struct ContainerState: Sendable {
    package enum Status: String, Sendable {
        case created
        case running
        case paused
        case exited
        case dead
    }

    package var status: Status
    /// Of its first process, on the host; 0 unless it runs.
    package var pid: CInt = 0
    package var exitCode: Int32 = 0
    package var outOfMemory = false
    package var error = ""
    package var started: Timestamp?
    package var finished: Timestamp?

    package var isRunning: Bool { status == .running || status == .paused }
}

/// What the holder of a container writes for others while it runs (the file `state` in the run directory).
struct HolderRecord: Sendable {
    /// Of the container's first process.
    var pid: CInt
    var started: Timestamp
    /// The process that holds the container.
    var supervisor: CInt

    init(pid: CInt, started: Timestamp, supervisor: CInt) {
        self.pid = pid
        self.started = started
        self.supervisor = supervisor
    }

    init?(_ json: JSON) {
        guard let pid = json["pid"]?.int.flatMap(CInt.init(exactly:)) else { return nil }
        self.init(
            pid: pid,
            started: json["started"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? Timestamp(seconds: 0),
            supervisor: json["supervisor"]?.int.flatMap(CInt.init(exactly:)) ?? 0
        )
    }

    var json: JSON {
        ["pid": .integer(pid), "started": .string(started.rfc3339), "supervisor": .integer(supervisor)]
    }
}

extension Engine {
    /// The state of a container.
    ///
    /// Cost for one that does not run: nothing beyond the row.
    func state(of record: ContainerRecord) throws -> ContainerState {
        var state = ContainerState(
            status: ContainerState.Status(rawValue: record.status.rawValue) ?? .dead,
            exitCode: record.exitCode ?? 0,
            error: record.error ?? "",
            started: record.started.map { Timestamp(nanosecondsSince1970: $0) },
            finished: record.finished.map { Timestamp(nanosecondsSince1970: $0) }
        )
        guard record.status == .running else { return state }
        let directory = root.containerRunPath(record.id)
        if let exit = try ExitRecord.read(directory) {
            state.status = .exited
            state.exitCode = exit.code
            state.outOfMemory = exit.outOfMemory
            state.finished = exit.finished
        } else if try !root.isHeld(record.id) {
            // Its holder was killed, and it with its holder.
            state.status = .exited
            state.exitCode = 137
        } else if let holder = try holder(of: record.id) {
            state.pid = holder.pid
            if isPaused(record.id) { state.status = .paused }
        }
        return state
    }

    /// What the holder wrote; `nil` while it starts.
    func holder(of id: String) throws -> HolderRecord? {
        let path = root.containerRunPath(id).appending(RunFile.state)
        return try doing("read the state of container \(id.prefix(12))") {
            guard try Files.status(path) != nil else { return nil }
            return (try? JSON.parse(try Files.contents(path, limit: 64 << 10))).flatMap(HolderRecord.init)
        }
    }
}

extension StoreRoot {
    /// Whether somebody holds this lock, exclusively.
    ///
    /// Makes nothing and does not wait.
    func isHeld(_ name: String) throws -> Bool {
        do throws(SystemError) {
            let file = try Files.open(locksPath.appending(name), O_RDONLY | O_NOFOLLOW)
            return try systemAnswer("flock", name, expecting: .wouldBlock) {
                clinux_flock(file.raw, LOCK_SH | LOCK_NB)
            } == nil
        } catch {
            if error.errno == .noSuchFileOrDirectory { return false }
            throw StorageError(error, doing: "look at lock \(name)")
        }
    }
}
