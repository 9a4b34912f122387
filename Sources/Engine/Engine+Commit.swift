// SPDX-License-Identifier: Apache-2.0

import Images
import JSON
package import LayerDiff
import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot

/// What `commit` is asked for.
package struct CommitOptions: Sendable {
    package var container: String
    package var reference: String?
    package var author = ""
    package var message = ""
    package var changes: [String] = []
    /// Whether a running container stands still meanwhile.
    package var pauses = true

    package init(container: String) { self.container = container }
}

extension Engine {
    /// Makes an image of what a container changed.
    ///
    /// The container lives on. Cost: that of the changes.
    package func commit(_ options: CommitOptions) throws -> Digest {
        let reference = try options.reference.map { try Reference(naming: $0) }
        let changes = try ConfigChanges(options.changes)
        let record = try containers.find(options.container)
        guard let parentID = Digest(record.image) else {
            throw StorageError(.corrupt, "commit \(record.name): its image is called '\(record.image)'")
        }
        guard let parent = try images.image(parentID) else {
            throw EngineError(
                .notFound,
                "commit \(record.name): No such image: \(parentID), which the container was made of: "
                    + "load it again, or export the container"
            )
        }
        var process = try parent.config().process
        for member in try record.config.imageProcess { process[member.key] = member.value }
        var id: Digest?
        func insert(_ transaction: Transaction, _ layer: CommittedLayer) throws {
            var commit = ImageCommit(parent: parent, diffID: layer.diffID, size: layer.size)
            commit.references = [reference].compactMap(\.self)
            commit.author = options.author
            commit.message = options.message
            commit.changes = changes
            commit.createdBy = try record.config.arguments.joined(separator: " ")
            commit.process = process
            let prepared = try images.prepare(commit)
            try prepared.insert(in: transaction)
            id = prepared.id
        }
        try whileThere(record) {
            try making {
                try paused(record, options.pauses) {
                    let isCancelled: @Sendable () -> Bool = { Interruption.isRequested }
                    _ = try layers.commit(record.layer, cancelled: isCancelled, record: insert)
                }
            }
        }
        images.updateIndex()
        guard let id else { throw EngineError(.failed, "commit \(record.name): nothing was recorded") }
        return id
    }

    /// Runs `body` while the container stands still, if it runs.
    func paused<T>(_ record: ContainerRecord, _ pauses: Bool, _ body: () throws -> T) throws -> T {
        guard pauses, try state(of: record).status == .running, let cgroup = cgroup(of: record.id) else {
            return try body()
        }
        try cgroup.freeze()
        defer { try? cgroup.thaw() }
        return try body()
    }

    /// The container's cgroup, where there are any on this machine.
    func cgroup(of id: String) -> Cgroup? {
        CgroupHierarchies.detect().map { Cgroup("/strata/\(id)", in: $0) }
    }

    /// Ends every process that a killed holder left, by the cgroup, and removes that.
    func endProcesses(of id: String) throws {
        guard let cgroup = cgroup(of: id) else { return }
        try cgroup.end()
    }

    func isPaused(_ id: String) -> Bool { cgroup(of: id)?.isFrozen ?? false }
}
