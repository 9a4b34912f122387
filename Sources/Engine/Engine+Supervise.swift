// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot
package import Supervisor
import SystemPackage

extension Engine {
    /// Hands a container to a supervisor, which starts it, and returns when its program runs.
    ///
    /// - Parameter client: our end's counterpart of a control connection that is attached before the start.
    func supervise(
        _ container: HeldContainer,
        client: (descriptor: CInt, options: AttachOptions)?
    ) throws {
        let record = container.record
        try makeRunDirectory(of: record.id)
        let launch = try prepareLaunch(of: container)
        let settings = try record.config.log
        var log: LogOptions?
        if settings.isKept {
            log = LogOptions(
                path: logPath(of: record.id),
                maximumSize: settings.maximumSize,
                maximumFiles: settings.maximumFiles
            )
        }
        var job = SupervisorJob(
            id: record.id,
            runDirectory: root.containerRunPath(record.id),
            log: log,
            input: try !record.config.keepsStandardInput ? .none : client == nil ? .open : .once,
            launch: SupervisedLaunch(launch).json
        )
        job.client = client?.descriptor
        job.clientOptions = client?.options ?? []
        job.held = launch.descriptors
        job.kept = [container.lock.raw, container.layer.lock.fd.raw]
        job.onExit = try Programs.strata(options, root) + ["container-exited", record.id]
        _ = try SupervisorStart.start(try Programs.supervisor(), job)
    }

    func logPath(of id: String) -> FilePath { root.containerPath(id).appending("log") }

    /// Runs a container in front with a supervisor as its holder.
    func runAttached(_ container: HeldContainer, _ attachment: Attachment) throws -> Int32 {
        let pair = try ControlConnection.pair()
        var what: AttachOptions = [.stdout, .stderr, .lossless]
        if attachment.input { what.insert(.stdin) }
        try undoing(container) { try supervise(container, client: (pair.theirs.raw, what)) }
        let session = AttachSession(
            pair.connection(),
            runDirectory: root.containerRunPath(container.record.id),
            AttachSession.Options(
                input: attachment.input,
                terminal: try container.record.config.terminal,
                proxiesSignals: attachment.proxiesSignals,
                detachKeys: attachment.detachKeys
            )
        )
        switch try session.run() {
        case .ended(let record): return record.code
        case .detached: return 0
        case .lost:
            throw EngineError(
                .failed,
                "the supervisor of container \(container.record.shortID) was killed, and the container with it"
            )
        }
    }

    /// What the supervisor starts when a container has ended: stores how, or removes an `--rm` container.
    ///
    /// The supervisor holds the container's and the layer's locks meanwhile.
    package func containerExited(_ id: String) throws {
        let record = try containers.find(id)
        let exit = try ExitRecord.read(root.containerRunPath(id)) ?? ExitRecord(code: 137)
        if try record.config.removeWhenDone {
            try root.database.transaction(durable: false, freesSpace: true) { transaction in
                _ = try transaction.run("DELETE FROM containers WHERE id = ?", [.text(id)])
                try layers.deleteRow(record.layer, in: transaction)
            }
            try layers.driver(record.driver).remove(record.layer)
            root.removeLock(record.layer.rawValue)
            try Files.removeTree(root.containerPath(id))
            root.removeLock(id)
            try layers.driver(record.driver).emptyTrash { false }
            // The run directory stays until the supervisor has told those who wait; recovery or it clears it.
            return
        }
        try containers.markExited(
            id,
            exitCode: exit.code,
            error: nil,
            finished: exit.finished.nanosecondsSince1970,
            freesSpace: false
        )
    }
}

extension Engine {
    /// Gives a container's log, and with `follows` what comes, until the container has ended.
    package func logs(
        _ name: String,
        _ query: LogQuery,
        follows: Bool,
        emit: @escaping (LogRecord) throws -> Void
    ) throws {
        let record = try containers.find(name)
        guard try record.config.log.isKept else {
            throw EngineError(
                .unsupported,
                "configured logging driver does not support reading: container \(name) keeps no log (--log-driver none)"
            )
        }
        let path = logPath(of: record.id)
        guard try Files.status(path) != nil else { return }
        let reader = LogReader(path, query, emit: emit)
        guard follows, try state(of: record).isRunning else { return try reader.read() }
        try reader.follow(containerIn: root.containerRunPath(record.id))
    }
}
