// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
import Storage
package import SystemPackage

/// One store: its directory, its rows, its locks.
///
/// Locks are flock(2) on files in `locks/`: `<id>` for a layer or container, `<driver>.<ChainID>` for making an image's
/// layer, a digest for a blob, `mount.<id>` for a layer that stands in a mount table, `store` for laying out or migrating the store. **Order**, for whoever takes several:
///
/// 1. `store`
/// 2. container `<id>`
/// 3. blob digests, in their order as text
/// 4. `<driver>.<ChainID>`, from the base up
/// 5. `mount.<id>`
/// 6. layer `<id>`, from the base up
/// 7. one row transaction
///
/// Nothing waits for a file lock inside a transaction. A lock file goes with its thing: whoever removes the thing calls
/// `removeLock` while it holds the lock exclusively, and whoever locks checks that the name still leads to the file.
package final class StoreRoot: Sendable {
    package enum Access: Sendable {
        /// Never writes, never waits; a store that does not exist reads as an empty one.
        ///
        /// As long as one is open, what the same process opens for writing cannot write: SQLite has one index of the log for
        /// both, and it is the reader's.
        case read
        /// Makes what is missing.
        case write
    }

    package let path: FilePath
    /// What lives only while the machine runs: `/run/strata/<id>`; made by `makeRunDirectory`.
    package let runPath: FilePath
    /// 16 hexadecimal digits, random, made with the store; empty for a store that does not exist.
    package let id: String
    package let access: Access
    package let database: Database
    private let reserve: StoreReserve

    /// Whether there is a store at `path`.
    package var exists: Bool { !id.isEmpty }

    /// Opens the store at `root`, which a first write makes.
    ///
    /// A store of a newer version is refused, an older one migrated.
    ///
    /// - Parameter run: the directory for the machine's life, in place of `/run/strata` (or the user's).
    package static func open(_ root: FilePath, run: FilePath? = nil, access: Access) throws -> StoreRoot {
        let root = try absolute(root)
        if let stamp = try VersionStamp.read(root) {
            if stamp.isCurrent { return StoreRoot(root, run: run, stamp, access: access) }
            if stamp.version > Schema.version { throw stamp.refusal(of: root) }
        } else if access == .read {
            return StoreRoot(root, run: run, nil, access: .read)
        }
        let stamp = try StoreLayout(root: root).establish()
        return StoreRoot(root, run: run, try VersionStamp.read(root) ?? stamp, access: access)
    }

    private init(_ root: FilePath, run: FilePath?, _ stamp: VersionStamp?, access: Access) {
        path = root
        id = stamp?.id ?? ""
        self.access = access
        runPath = (run ?? Self.defaultRunPath()).appending(id)
        reserve = StoreReserve(root)
        database = Database(
            stamp == nil
                ? .empty
                : .file(
                    root.appending("strata.db").string,
                    access,
                    reserve,
                    needsSpaceToMap: stamp?.needsSpaceToMap == true
                )
        )
    }

    /// `/var/lib/strata`, for ordinary users `$XDG_DATA_HOME/strata`.
    package static func defaultPath() -> FilePath {
        if geteuid() == 0 { return "/var/lib/strata" }
        if let data = environment("XDG_DATA_HOME") { return FilePath(data).appending("strata") }
        return FilePath(environment("HOME") ?? "/").appending(".local/share/strata")
    }

    private static func defaultRunPath() -> FilePath {
        if geteuid() == 0 { return "/run/strata" }
        return FilePath(environment("XDG_RUNTIME_DIR") ?? "/tmp/strata-\(geteuid())").appending("strata")
    }

    private static func environment(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    private static func absolute(_ path: FilePath) throws -> FilePath {
        do throws(SystemError) {
            return try Files.absolute(path)
        } catch {
            throw StorageError(
                .notFound,
                "open store \(path): the working directory is gone",
                remedy: "give --root as an absolute path"
            )
        }
    }
}

// MARK: - Places

extension StoreRoot {
    package var driversPath: FilePath { path.appending("drivers") }
    package func home(ofDriver name: String) -> FilePath { driversPath.appending(name) }
    package var ociPath: FilePath { path.appending("oci") }
    package var locksPath: FilePath { path.appending("locks") }
    package func containerPath(_ id: String) -> FilePath { path.appending("containers").appending(id) }
    package func containerRunPath(_ id: String) -> FilePath { runPath.appending("containers").appending(id) }
    /// Where the mounts of `layer mount` are recorded, by layer.
    package var mountsPath: FilePath { runPath.appending("mounts") }

    /// Whether space is kept back, for removing things on a full disk.
    package var hasReserve: Bool { reserve.isThere }

    /// Keeps space back again if it was used.
    ///
    /// After space was freed.
    package func restoreReserve() { reserve.keep() }

    /// Gives up what is kept back if the disk is full or nearly so.
    ///
    /// Before something is removed.
    package func useReserveIfFull() { reserve.useIfFull() }

    /// Returns when everything on the store's file system is on disk.
    package func syncFileSystem() throws {
        try doing("sync \(path)") {
            let directory = try Files.openDirectory(path)
            try Files.syncFileSystem(of: directory.raw)
        }
    }

    /// Makes `runPath` and its `containers`; after a start of the machine they are gone.
    package func makeRunDirectory() throws {
        try doing("make \(runPath)") { try Files.makeDirectories(runPath.appending("containers")) }
    }
}

// MARK: - Locks

extension StoreRoot {
    /// Locks `name`, making its file if it is missing.
    ///
    /// The order is that of the type's comment.
    ///
    /// - Returns: `nil` if `wait` is false and somebody holds it.
    package func lock(_ name: String, _ mode: FileLock.Mode, wait: Bool = true) throws -> FileLock? {
        do throws(SystemError) {
            return try FileLock.acquire(lockPath(name), mode, wait: wait)
        } catch {
            let remedy = error.errno == .readOnlyFileSystem ? StorageError.readOnlyRemedy : nil
            throw StorageError(error, doing: "lock \(name)", remedy: remedy)
        }
    }

    /// The lock under which the store is laid out and migrated; its file stays.
    package static let layoutLock = "store"

    /// Removes the lock file of a thing that is gone.
    ///
    /// The caller holds the lock exclusively.
    package func removeLock(_ name: String) {
        _ = try? Files.unlink(lockPath(name))
    }

    /// The names of all lock files, in no order.
    package func lockNames() throws -> [String] {
        try doing("list \(locksPath)") {
            let directory = try Files.openDirectory(locksPath)
            return try Files.list(directory.raw).map { String(decoding: $0.name.bytes, as: UTF8.self) }
        }
    }

    private func lockPath(_ name: String) -> FilePath {
        precondition(
            !name.isEmpty && !name.utf8.contains(UInt8(ascii: "/")),
            "a lock's name is one path component"
        )
        return locksPath.appending(name)
    }
}
