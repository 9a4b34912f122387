// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import Storage
import StoreRoot

/// Docker's rules of `rmi`, inside one transaction.
struct ImageRemoval {
    let transaction: Transaction
    let users: [ImageUser]
    let force: Bool
    let prune: Bool
    private(set) var lines: [RemovedImages.Line] = []
    private(set) var releasedChains: [Digest] = []

    init(transaction: Transaction, users: [ImageUser], force: Bool, prune: Bool) {
        self.transaction = transaction
        self.users = users
        self.force = force
        self.prune = prune
    }

    mutating func remove(_ id: Digest, text: String, reference: Reference?) throws {
        guard try exists(id) else { throw StorageError(.notFound, "No such image: \(text)") }
        let names = try references(of: id)
        guard let reference else {
            // By id: all names go, if they are names of one repository.
            try checkConflicts(id, referencesCount: isSingle(names) ? 0 : names.count, force: force)
            try untag(names)
            return try delete(id)
        }
        guard names.contains(reference) else { throw StorageError(.notFound, "No such image: \(text)") }
        if !force, isSingle(names), let user = users.first(where: { $0.image == id }) {
            throw StorageError(
                .inUse,
                "conflict: unable to remove repository reference \(text.debugDescription) (must force) - container "
                    + "\(user.containerID.prefix(12)) is using its referenced image \(id.hex.prefix(12))"
            )
        }
        try untag([reference])
        var left = names.filter { $0 != reference }
        // Digests alone do not keep a repository's name alive.
        let siblings = left.filter { $0.repository == reference.repository }
        if reference.digest == nil, siblings.allSatisfy({ $0.digest != nil }) {
            try untag(siblings)
            left.removeAll { siblings.contains($0) }
        }
        if left.isEmpty { try deleteQuietly(id, force: force) }
    }

    // MARK: - Deleting

    /// After the last name went: an image that something stands on stays, without a name.
    private mutating func deleteQuietly(_ id: Digest, force: Bool) throws {
        if try hasChildren(id) { return }
        do {
            try checkConflicts(id, referencesCount: 0, force: force)
        } catch let error as StorageError where error.code == .inUse {
            return
        }
        try delete(id)
    }

    private mutating func delete(_ id: Digest) throws {
        let parent = try transaction.first("SELECT parent FROM images WHERE id = ?", [.text("\(id)")]) {
            $0.optionalText(0).flatMap { Digest($0) }
        }.flatMap(\.self)
        let chains = try transaction.query(
            "SELECT chain_id FROM image_layers WHERE image = ? ORDER BY position DESC",
            [.text("\(id)")]
        ) { Digest($0.text(0)) }.compactMap(\.self)
        try transaction.run("DELETE FROM image_references WHERE image = ?", [.text("\(id)")])
        try transaction.run("DELETE FROM image_layers WHERE image = ?", [.text("\(id)")])
        try transaction.run("DELETE FROM images WHERE id = ?", [.text("\(id)")])
        lines.append(.deleted(id))
        for chain in chains {
            let isUsed = try transaction.first(
                "SELECT 1 FROM image_layers WHERE chain_id = ? LIMIT 1",
                [.text("\(chain)")]
            ) { _ in true }
            if isUsed == nil {
                releasedChains.append(chain)
                lines.append(.deleted(chain))
            }
        }
        if prune, let parent, try exists(parent), try references(of: parent).isEmpty {
            // Nobody has named it: who uses it keeps it.
            try deleteQuietly(parent, force: false)
        }
    }

    private mutating func untag(_ references: [Reference]) throws {
        for reference in references {
            try transaction.run("DELETE FROM image_references WHERE name = ?", [.text("\(reference)")])
            lines.append(.untagged(reference.familiar))
        }
    }

    // MARK: - Conflicts

    private func checkConflicts(_ id: Digest, referencesCount: Int, force: Bool) throws {
        if try hasChildren(id) { throw conflict(id, isHard: true, "image has dependent child images") }
        let ours = users.filter { $0.image == id }
        if let user = ours.first(where: \.isRunning) {
            throw conflict(
                id,
                isHard: true,
                "image is being used by running container \(user.containerID.prefix(12))"
            )
        }
        if force { return }
        if referencesCount > 0 {
            throw conflict(id, isHard: false, "image is referenced in multiple repositories")
        }
        if let user = ours.first {
            throw conflict(
                id,
                isHard: false,
                "image is being used by stopped container \(user.containerID.prefix(12))"
            )
        }
    }

    private func conflict(_ id: Digest, isHard: Bool, _ why: String) -> StorageError {
        let how = isHard ? "cannot be forced" : "must be forced"
        return StorageError(.inUse, "conflict: unable to delete \(id.hex.prefix(12)) (\(how)) - \(why)")
    }

    /// One tag at most, and all digests in the tag's repository.
    private func isSingle(_ references: [Reference]) -> Bool {
        let tags = references.filter { $0.digest == nil }
        guard references.count > 1 else { return true }
        guard tags.count == 1, let tag = tags.first else { return false }
        return references.allSatisfy { $0.repository == tag.repository }
    }

    // MARK: - Rows

    private func exists(_ id: Digest) throws -> Bool {
        try transaction.first("SELECT 1 FROM images WHERE id = ?", [.text("\(id)")]) { _ in true } ?? false
    }

    private func hasChildren(_ id: Digest) throws -> Bool {
        try transaction.first("SELECT 1 FROM images WHERE parent = ? LIMIT 1", [.text("\(id)")]) { _ in true }
            ?? false
    }

    private func references(of id: Digest) throws -> [Reference] {
        try transaction.query(
            "SELECT name FROM image_references WHERE image = ? ORDER BY name",
            [.text("\(id)")]
        ) {
            try Reference(parsing: $0.text(0))
        }
    }
}
