// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LayerDiff
package import LinuxSys
import Storage
import StoreRoot
package import SystemPackage

/// The content store `oci/`: an OCI image layout, whose `index.json` is written and never read.
///
/// A blob counts only if a row names it; whatever else lies in `blobs/` is garbage, perhaps torn by a power
/// cut. The lock of a blob is named by its digest. Whoever needs a blob to stay holds it shared, from before
/// asking for the row until another row names the blob; whoever removes one holds it exclusively, and never
/// waits for that.
package final class BlobStore: Sendable {
    package let path: FilePath
    private let root: StoreRoot

    init(_ root: StoreRoot) {
        self.root = root
        path = root.ociPath
    }

    static let layout = #"{"imageLayoutVersion":"1.0.0"}"#

    var blobsPath: FilePath { path.appending("blobs/sha256") }

    package func path(of digest: Digest) -> FilePath { blobsPath.appending(digest.hex) }

    /// Makes what a layout needs, if it is missing, or cut short by a power cut.
    ///
    /// Not durable by itself: `sync` and `syncNames` are.
    func establish() throws {
        let file = path.appending("oci-layout")
        let isThere = try doing("look at \(path)") {
            try Files.status(file)?.size == Int64(Self.layout.utf8.count) && Files.status(blobsPath) != nil
        }
        if isThere { return }
        try doing("make \(path)") {
            try Files.makeDirectories(blobsPath)
            try Files.replace(file, with: Array(Self.layout.utf8), mode: 0o644, durable: false)
        }
    }

    /// What the row of a blob says; `nil` without a row.
    package struct Record: Sendable {
        package var digest: Digest
        package var size: Int64
        package var mediaType: String
        package var diffID: Digest?
    }

    package func record(of digest: Digest) throws -> Record? {
        try root.database.first(
            "SELECT size, media_type, diff_id FROM blobs WHERE digest = ?",
            [.text("\(digest)")]
        ) { row in
            Record(
                digest: digest,
                size: row.integer(0),
                mediaType: row.text(1),
                diffID: row.optionalText(2).flatMap { Digest($0) }
            )
        }
    }

    /// The stored forms of a layer.
    package func records(ofLayer diffID: Digest) throws -> [Record] {
        try root.database.query(
            "SELECT digest, size, media_type FROM blobs WHERE diff_id = ? ORDER BY digest",
            [.text("\(diffID)")]
        ) { row -> Record? in
            guard let digest = Digest(row.text(0)) else { return nil }
            return Record(digest: digest, size: row.integer(1), mediaType: row.text(2), diffID: diffID)
        }.compactMap(\.self)
    }

    /// Bytes of all blobs that have rows.
    package func totalSize() throws -> Int64 {
        try root.database.first("SELECT coalesce(sum(size), 0) FROM blobs") { $0.integer(0) } ?? 0
    }

    /// Bytes of the blobs that would go with all images but those given.
    package func size(without kept: Set<String>) throws -> Int64 {
        let list = (0..<kept.count).map { "?\($0 + 1)" }.joined(separator: ", ")
        return try root.database.first(
            """
            SELECT coalesce(sum(size), 0) FROM blobs
            WHERE digest NOT IN (\(list)) AND digest NOT IN (SELECT blob FROM image_layers WHERE blob IS NOT NULL AND image IN (\(list)))
            AND digest NOT IN (SELECT manifest_digest FROM images WHERE manifest_digest IS NOT NULL AND id IN (\(list)))
            """,
            kept.map { .text($0) }
        ) { $0.integer(0) } ?? 0
    }

    /// Opens a blob that has a row.
    ///
    /// Fails with `.corrupt` if the file is gone or has another size than the row says; the content is not
    /// read.
    package func open(_ record: Record) throws -> SharedFD {
        let file: SharedFD
        do {
            // A pipe would be waited for.
            file = SharedFD(try Files.open(path(of: record.digest), O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory, .tooManySymbolicLinkLevels, .noSuchAddressOrDevice:
                throw Self.damage(record.digest, "\(error)")
            default: throw StorageError(error, doing: "open blob \(record.digest)")
            }
        }
        let status = try doing("open blob \(record.digest)") { try Files.status(of: file.raw) }
        guard status.kind == .regular else { throw Self.damage(record.digest, "it is no file") }
        guard status.size == record.size else {
            throw Self.damage(record.digest, "it has \(status.size) bytes in place of \(record.size)")
        }
        return file
    }

    /// What a blob that is not what its name says is to users.
    static func damage(_ digest: Digest, _ what: String) -> StorageError {
        StorageError(
            .corrupt,
            "read blob \(digest): \(what)",
            remedy: "load the image again, or remove it (strata system check tells more)"
        )
    }

    /// The whole content of a small blob, verified.
    package func contents(_ digest: Digest, limit: Int) throws -> [UInt8] {
        guard let record = try record(of: digest) else {
            throw StorageError(.notFound, "read blob \(digest): it is not in the store")
        }
        let file = try open(record)
        let bytes = try doing("read blob \(digest)") { try Files.contents(of: file.raw, limit: limit) }
        guard Digest.sha256(of: bytes) == digest else {
            throw Self.damage(digest, "its content has another digest")
        }
        return bytes
    }

    /// A file without a name on the store's file system, which vanishes with its last descriptor.
    func unnamedFile() throws -> SharedFD {
        try establish()
        return try doing("make a temporary file in \(path)") {
            SharedFD(try Files.open(path, O_RDWR | CLINUX_O_TMPFILE, mode: 0o600))
        }
    }

    /// Gives a written file its name, in place of whatever stands there without a row.
    ///
    /// Not durable by itself.
    func publish(_ file: SharedFD, as digest: Digest) throws {
        try doing("store blob \(digest)") {
            try system("fchmod") { fchmod(file.raw, 0o644) }
            let directory = try Files.openDirectory(blobsPath)
            let source = "/proc/self/fd/\(file.raw)"
            let name = digest.hex
            if try Self.link(source, name, directory.raw) { return }
            // linkat(2) cannot replace, rename(2) can.
            let temporary = ".\(name).\(getpid()).\(file.raw)"
            try Files.unlink(temporary, below: directory.raw)
            _ = try Self.link(source, temporary, directory.raw)
            try Files.rename(temporary, below: directory.raw, to: name, below: directory.raw)
        }
    }

    /// - Returns: false if the name exists.
    private static func link(_ source: String, _ name: String, _ directory: CInt) throws(SystemError) -> Bool
    {
        try systemAnswer("linkat", name, expecting: .fileExists) {
            clinux_linkat(AT_FDCWD, source, directory, name, CLINUX_AT_SYMLINK_FOLLOW)
        } != nil
    }

    /// Returns when everything written to the store's file system is on disk.
    ///
    /// - Parameter directory: one of it, open since before that was written: a failure to write is told once to each
    ///   that was open, and to one opened later only if nobody knows of it yet.
    func sync(by directory: SharedFD) throws {
        try doing("sync \(path)") { try Files.syncFileSystem(of: directory.raw) }
    }

    /// Returns when the names of blobs are on disk, and those of the directories that lead to them.
    func syncNames() throws {
        try doing("sync \(blobsPath)") {
            for directory in [blobsPath, path.appending("blobs"), path, root.path] {
                try Files.syncDirectory(directory)
            }
        }
    }

    func lock(_ digest: Digest, _ mode: FileLock.Mode, wait: Bool) throws -> BlobLock? {
        guard let lock = try root.lock("\(digest)", mode, wait: wait) else { return nil }
        return BlobLock(digest, lock)
    }
}

/// The lock of one blob, released with its last reference.
final class BlobLock: Sendable {
    let digest: Digest
    private let lock: FileLock

    init(_ digest: Digest, _ lock: consuming FileLock) {
        self.digest = digest
        self.lock = lock
    }
}
