// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

/// A container as removal sees it.
package struct ImageUser: Sendable {
    package var containerID: String
    package var image: Digest
    package var isRunning: Bool

    package init(containerID: String, image: Digest, isRunning: Bool) {
        self.containerID = containerID
        self.image = image
        self.isRunning = isRunning
    }
}

/// What a removal did, in the order to print.
package struct RemovedImages: Sendable {
    package enum Line: Hashable, Sendable, CustomStringConvertible {
        case untagged(String)
        case deleted(Digest)

        package var description: String {
            switch self {
            case .untagged(let name): "Untagged: \(name)"
            case .deleted(let digest): "Deleted: \(digest)"
            }
        }
    }

    package var lines: [Line] = []
    /// ChainIDs that no image has any more, the top first: their layers can go, if no container stands on
    /// them.
    package var releasedChains: [Digest] = []
}

extension ImageStore {
    /// `rmi`: takes the name `text` away, and the image itself with its last name; by id, the image with all
    /// its names.
    ///
    /// Fails with `.inUse` and Docker's words where a container or another image stands in the way; `force`
    /// overrides stopped containers and several names, never running containers or images made from this one.
    /// - Parameter users: all containers of the store.
    /// - Parameter prune: whether parents without a name go too.
    package func remove(
        _ text: String,
        force: Bool = false,
        prune: Bool = true,
        users: [ImageUser]
    ) throws -> RemovedImages {
        let (image, reference) = try resolveNamed(text)
        let locks = try lockedBlobs(of: image.id, prune: prune)
        var removed = RemovedImages()
        var gone: [Digest] = []
        try database.transaction(durable: isDurable, freesSpace: true) { transaction in
            var removal = ImageRemoval(
                transaction: transaction,
                users: try Self.allUsers(users, in: transaction),
                force: force,
                prune: prune
            )
            try removal.remove(image.id, text: text, reference: reference)
            removed.lines = removal.lines
            removed.releasedChains = removal.releasedChains
            gone = try Self.deleteUnused(locks.map(\.digest), in: transaction)
        }
        deleteFiles(gone, locks: locks)
        updateIndex()
        return removed
    }

    /// Those that the caller knows, and those that came while it looked.
    private static func allUsers(_ known: [ImageUser], in transaction: Transaction) throws -> [ImageUser] {
        let ids = Set(known.map(\.containerID))
        let rows = try transaction.query("SELECT id, image, status FROM containers") { row -> ImageUser? in
            guard let image = Digest(row.text(1)), !ids.contains(row.text(0)) else { return nil }
            return ImageUser(containerID: row.text(0), image: image, isRunning: row.text(2) == "running")
        }
        return known + rows.compactMap(\.self)
    }

    /// Takes the locks of the blobs of an image and of what may go with it, as far as nobody holds them.
    private func lockedBlobs(of id: Digest, prune: Bool) throws -> [BlobLock] {
        var digests: Set<Digest> = []
        var next: Digest? = id
        var seen: Set<Digest> = []
        while let current = next, seen.insert(current).inserted {
            digests.insert(current)
            let image = try image(current)
            if let manifest = image?.manifestDigest { digests.insert(manifest) }
            for layer in try layers(of: current) { if let blob = layer.blob { digests.insert(blob) } }
            next = prune ? image?.parent : nil
        }
        return try digests.sorted().compactMap { try blobs.lock($0, .exclusive, wait: false) }
    }

    private static let isUsed = """
        EXISTS (SELECT 1 FROM images WHERE id = blobs.digest OR manifest_digest = blobs.digest)
        OR EXISTS (SELECT 1 FROM image_layers WHERE blob = blobs.digest)
        """

    /// Deletes the rows of those blobs that no image names; the caller holds their locks exclusively.
    private static func deleteUnused(_ digests: [Digest], in transaction: Transaction) throws -> [Digest] {
        try digests.filter { digest in
            try transaction.run(
                "DELETE FROM blobs WHERE digest = ? AND NOT (\(isUsed))",
                [.text("\(digest)")]
            ) > 0
        }
    }

    /// What is left after a failure here has no row, and the next sweep finds it.
    private func deleteFiles(_ digests: [Digest], locks: [BlobLock]) {
        for digest in digests {
            _ = try? Files.unlink(blobs.path(of: digest))
            root.removeLock("\(digest)")
        }
        withExtendedLifetime(locks) {}
    }

    /// Removes blobs that no image names and files that no row names, except what somebody holds just now.
    ///
    /// One bad item does not stop the others.
    package func collectGarbage() throws -> BlobGarbage {
        var garbage = BlobGarbage()
        let unused = try database.query("SELECT digest FROM blobs WHERE NOT (\(Self.isUsed))") {
            Digest($0.text(0))
        }
        .compactMap(\.self)
        let locks = try unused.compactMap { try blobs.lock($0, .exclusive, wait: false) }
        var gone: [Digest] = []
        if !locks.isEmpty {
            gone = try database.transaction(durable: isDurable, freesSpace: true) { transaction in
                try Self.deleteUnused(locks.map(\.digest), in: transaction)
            }
        }
        for digest in gone { try? garbage.add(blobs.path(of: digest)) }
        deleteFiles(gone, locks: locks)
        try sweepFiles(&garbage)
        // A load that failed leaves its locks' files.
        for name in try root.lockNames() {
            guard let digest = Digest(name), try blobs.record(of: digest) == nil,
                let lock = try blobs.lock(digest, .exclusive, wait: false)
            else { continue }
            if try blobs.record(of: digest) == nil { root.removeLock(name) }
            withExtendedLifetime(lock) {}
        }
        return garbage
    }

    private func sweepFiles(_ garbage: inout BlobGarbage) throws {
        guard try doing("look at \(blobs.blobsPath)", { try Files.status(blobs.blobsPath) }) != nil else {
            return
        }
        let directory = try doing("list \(blobs.blobsPath)") { try Files.openDirectory(blobs.blobsPath) }
        for entry in try doing("list \(blobs.blobsPath)", { try Files.list(directory.raw) }) {
            let name = entry.name.printable
            // Temporary names are `.<hex>.<pid>.<n>`: the lock is that of the blob.
            let hex = name.hasPrefix(".") ? String(name.dropFirst().prefix { $0 != "." }) : name
            guard let digest = Digest(hex: hex) else { continue }
            if name == hex, try blobs.record(of: digest) != nil { continue }
            guard let lock = try blobs.lock(digest, .exclusive, wait: false) else { continue }
            if name == hex, try blobs.record(of: digest) != nil { continue }
            try? garbage.add(blobs.blobsPath.appending(name))
            _ = try? Files.unlink(entry.name, below: directory.raw)
            if try blobs.record(of: digest) == nil { root.removeLock("\(digest)") }
            withExtendedLifetime(lock) {}
        }
    }
}

/// What a sweep of the content store freed.
package struct BlobGarbage: Sendable {
    package var count = 0
    package var bytes: Int64 = 0

    fileprivate mutating func add(_ path: some PathConvertible) throws {
        guard let status = try Files.status(path) else { return }
        count += 1
        bytes += status.size
    }
}
