// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The file `version`: the layout's number, the store's id, and while a migration runs a third line that says so.
struct VersionStamp {
    var version: Int
    var id: String
    var isMigrating = false
    /// Of the file system that the store lies on: `Files.needsSpaceToMap`.
    var needsSpaceToMap = false

    var isCurrent: Bool { version == Schema.version && !isMigrating }

    /// `nil` if there is no store at `root`, or one whose making did not end.
    static func read(_ root: FilePath) throws -> VersionStamp? {
        let path = root.appending("version")
        let text: String
        let needsSpaceToMap: Bool
        do throws(SystemError) {
            (text, needsSpaceToMap) = try firstBytes(path)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            let remedy =
                error.errno == .permissionDenied
                ? "run as the owner of the store, or give another --root" : nil
            throw StorageError(error, doing: "open store \(root)", remedy: remedy)
        }
        let lines = text.split(separator: "\n")
        guard let first = lines.first, let version = Int(first), version > 0 else {
            throw StorageError(.corrupt, "open store \(root): its file version does not begin with a number")
        }
        // A newer layout may say more than we know; its number is all that is needed to refuse it.
        let id = lines.count > 1 ? String(lines[1]) : ""
        if version <= Schema.version {
            guard id.utf8.count == 16, id.utf8.allSatisfy({ isHexDigit($0) }) else {
                throw StorageError(.corrupt, "open store \(root): its file version has no store id")
            }
        }
        return VersionStamp(
            version: version,
            id: id,
            isMigrating: lines.count > 2,
            needsSpaceToMap: needsSpaceToMap
        )
    }

    /// What a stamp can be, read at once, and where it lies: every command begins with this.
    private static func firstBytes(_ path: FilePath) throws(SystemError) -> (String, needsSpaceToMap: Bool) {
        let file = try Files.open(path, O_RDONLY | O_NOFOLLOW)
        var bytes: [128 of UInt8] = .init(repeating: 0)
        var span = bytes.mutableSpan
        let count = try system("read", path.printable) {
            span.withUnsafeMutableBytes { Glibc.read(file.raw, $0.baseAddress, $0.count) }
        }
        let text = String(decoding: (0..<count).map { bytes[$0] }, as: UTF8.self)
        return (text, try Files.needsSpaceToMap(file.raw))
    }

    func write(_ root: FilePath) throws {
        let text = "\(version)\n\(id)\n\(isMigrating ? "migrating\n" : "")"
        try doing("write \(root.appending("version"))") {
            try Files.replace(root.appending("version"), with: Array(text.utf8), durable: true)
        }
    }

    func refusal(of root: FilePath) -> StorageError {
        StorageError(
            .unsupported,
            "open store \(root): its layout is version \(version), this strata knows versions up to \(Schema.version)",
            remedy: "use a newer strata, or another store (--root)"
        )
    }

    static func random() -> VersionStamp {
        var generator = SystemRandomNumberGenerator()
        let digits = String(generator.next(), radix: 16)
        let id = String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return VersionStamp(version: Schema.version, id: id)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

/// Makes or migrates a store, under its lock `store`.
///
/// Whatever step it is killed at, the next run ends it.
struct StoreLayout {
    let root: FilePath

    static let directories = ["locks", "drivers", "containers", "oci"]

    func establish() throws -> VersionStamp {
        try doing("make store \(root)") {
            try Files.makeDirectories(root, mode: 0o700)
            for name in Self.directories { try Files.ensureDirectory(root.appending(name), mode: 0o700) }
        }
        let lock: FileLock? = try doing("lock store \(root)") {
            try FileLock.acquire(root.appending("locks").appending(StoreRoot.layoutLock), .exclusive)
        }
        defer { withExtendedLifetime(lock) {} }
        guard var stamp = try VersionStamp.read(root) else { return try make() }
        if stamp.isCurrent { return stamp }
        if stamp.version > Schema.version { throw stamp.refusal(of: root) }
        // Older programs must refuse from here on, and newer ones must know that the rows may lag behind.
        stamp.version = Schema.version
        stamp.isMigrating = true
        try stamp.write(root)
        try migrate()
        stamp.isMigrating = false
        try stamp.write(root)
        return stamp
    }

    private func make() throws -> VersionStamp {
        try doing("make store \(root)") {
            // An existing directory is taken over only if nothing but what we make lies in it.
            let directory = try Files.openDirectory(root)
            let known = Set(Self.directories.map { Array($0.utf8) })
            for entry in try Files.list(directory.raw)
            where !known.contains(entry.name.bytes) && !entry.name.bytes.elementsEqual(StoreReserve.name.utf8)
                && !entry.name.bytes.starts(with: "strata.db".utf8)
                && !entry.name.bytes.starts(with: ".version.".utf8)
                && !entry.name.bytes.elementsEqual("lost+found".utf8)
            {
                throw StorageError(
                    .exists,
                    "make store \(root): it is not a store and holds \(entry.name.printable)",
                    remedy: "give an empty or a new directory as --root"
                )
            }
            try system("chmod", root.string) { root.withPlatformString { chmod($0, 0o700) } }
        }
        StoreReserve(root).keep()
        let database = root.appending("strata.db")
        let isQuick = try doing("look at \(root)") {
            let directory = try Files.openDirectory(root)
            return try Files.status(database) == nil && Files.fileSystemType(directory.raw) != "btrfs"
        }
        // Where there are rows they are brought along: all that is missing may be the stamp. On btrfs what is synced on
        // the way makes it give its trees the room that a full disk needs.
        if isQuick {
            try makeDatabase(database)
        } else {
            try migrate()
        }
        try doing("make store \(root) durable") {
            for path in [root, root.removingLastComponent()] { try Files.syncDirectory(path) }
        }
        let stamp = VersionStamp.random()
        try stamp.write(root)  // commit point
        return stamp
    }

    /// Makes the rows' file under another name and syncs it once; what a kill leaves of that is made anew.
    private func makeDatabase(_ file: FilePath) throws {
        let draft = root.appending("strata.db-draft")
        let leftovers = ["", "-journal", "-wal", "-shm"].map { root.appending("strata.db-draft" + $0) }
        do {
            try doing("make \(file)") {
                for path in leftovers { try Files.unlink(path) }
                // SQLite would make it 0644, and the log takes the mode of the database.
                _ = try Files.open(draft, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            }
            try Connection(draft.string, .create).makeAtOnce(Schema.migrations)
            try doing("make \(file)") { try publish(draft, as: file) }
        } catch {
            for path in leftovers { _ = try? Files.unlink(path) }
            throw error
        }
    }

    private func publish(_ draft: FilePath, as file: FilePath) throws {
        let made = try Files.open(draft, O_RDONLY | O_NOFOLLOW)
        try system("fsync", draft.string) { fsync(made.raw) }
        // Reading on a full disk needs these to be there. A log that lost its rows would be carried over into the new.
        for suffix in ["-wal", "-shm"] {
            let flags = O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW
            _ = try Files.open(root.appending("strata.db" + suffix), flags, mode: 0o600)
        }
        try Files.rename(draft, to: file)
    }

    /// Brings the rows to the current layout, each step in one transaction with its number.
    private func migrate() throws {
        let file = root.appending("strata.db")
        // SQLite would make it 0644, and the log takes the mode of the database.
        try doing("make \(file)") { _ = try Files.open(file, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600) }
        let connection = try Connection(file.string, .create)
        try connection.script("PRAGMA journal_mode=WAL")
        // The checkpoint at the end syncs the log, then the rows; what a power cut takes before is made again.
        try connection.setDurable(false)
        let done = try connection.query("PRAGMA user_version", []) { Int($0.integer(0)) }.first ?? 0
        if done > Schema.version {
            throw VersionStamp(version: done, id: "").refusal(of: root)
        }
        for (index, migration) in Schema.migrations.enumerated().dropFirst(done) {
            try connection.script("BEGIN IMMEDIATE; \(migration); PRAGMA user_version=\(index + 1); COMMIT")
        }
        try connection.script("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}
