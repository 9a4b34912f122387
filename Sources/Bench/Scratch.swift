// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The directory in which everything of one benchmark lies, locked as long as it runs.
///
/// One that a killed benchmark left is known by its lock being free, and goes with the next.
final class Scratch {
    private static let prefix = ".strata-bench-"
    private let path: FilePath
    private let lock: SharedFD
    /// Directories above it that were missing, the lowest first.
    private let missing: [FilePath]

    /// - Parameter parent: made if it is missing, until the end.
    private init(below parent: FilePath, _ drivers: [DriverEntry]) throws {
        missing = Self.missing(parent)
        try doing("make \(parent)") { try Files.makeDirectories(parent) }
        Self.sweep(parent, drivers)
        (path, lock) = try Self.make(below: parent)
    }

    /// One that is not locked yet may look to another benchmark as if it were left: then there is a next.
    private static func make(below parent: FilePath) throws -> (FilePath, SharedFD) {
        var random = SystemRandomNumberGenerator()
        while true {
            let path = parent.appending(prefix + String(random.next() as UInt32, radix: 36))
            try doing("make \(path)") { try Files.makeDirectory(path) }
            do {
                if let lock = try FileLock.acquire(path.appending("lock"), .exclusive, wait: false) {
                    return (path, SharedFD(lock.descriptor()))
                }
            } catch {
                if error.errno != .noSuchFileOrDirectory {
                    throw StorageError(error, doing: "lock \(path)")
                }
            }
        }
    }

    /// Calls `body` with a new one's path, and removes it whatever comes of that.
    ///
    /// - Parameter drivers: the catalog.
    static func with<T>(
        below parent: FilePath,
        _ drivers: [DriverEntry],
        _ body: (FilePath) throws -> T
    ) throws -> T {
        let scratch = try Scratch(below: parent, drivers)
        do {
            let result = try body(scratch.path)
            try scratch.remove()
            return result
        } catch {
            try? scratch.remove()
            throw error
        }
    }

    private static func sweep(_ parent: FilePath, _ drivers: [DriverEntry]) {
        guard let directory = try? Files.openDirectory(parent), let entries = try? Files.list(directory.raw)
        else {
            return
        }
        for entry in entries where entry.name.bytes.starts(with: prefix.utf8) {
            let path = parent.appending(entry.name.printable)
            if isJustMade(path) { continue }
            guard let lock = try? FileLock.acquire(path.appending("lock"), .exclusive, wait: false) else {
                continue
            }
            for driver in drivers { empty(driver, below: path) }
            try? remove(path)
            withExtendedLifetime(lock) {}
        }
    }

    /// Without a lock file, as all are for a moment.
    private static func isJustMade(_ path: FilePath) -> Bool {
        guard (try? Files.status(path.appending("lock"))) == .some(nil),
            let status = try? Files.status(path)
        else { return false }
        return status.mtime.seconds > time(nil) - 60
    }

    /// Removes the layers of the driver's stores in there: some cannot be removed as files are.
    private static func empty(_ entry: DriverEntry, below path: FilePath) {
        guard let directory = try? Files.openDirectory(path), let stores = try? Files.list(directory.raw)
        else { return }
        for store in stores {
            let home = path.appending(store.name.printable).appending("root/drivers").appending(entry.name)
            guard (try? Files.status(home)) != nil,
                let driver = try? entry.type.init(home: home, options: [:])
            else { continue }
            empty(driver)
        }
    }

    /// Removes all layers of a driver; what cannot be removed goes with the directory.
    static func empty(_ driver: any StorageDriver) {
        for id in (try? driver.list()) ?? [] { try? driver.remove(id) }
        try? driver.emptyTrash { false }
        try? (driver as? any HomeReleasing)?.releaseHome()
    }

    private static func missing(_ path: FilePath) -> [FilePath] {
        var missing: [FilePath] = []
        var next = path
        while !next.isEmpty, (try? Files.status(next)) == .some(nil) {
            missing.append(next)
            if !next.removeLastComponent() { break }
        }
        return missing
    }

    /// The lock last: without it, what a killed benchmark has left might be one that is about to begin.
    private static func remove(_ path: FilePath) throws(SystemError) {
        let directory = try Files.openDirectory(path)
        for entry in try Files.list(directory.raw) where entry.name.printable != "lock" {
            try Files.removeTree(entry.name, below: directory.raw)
        }
        try Files.removeTree(path)
    }

    private func remove() throws {
        try doing("remove \(path)") { try Self.remove(path) }
        for path in missing { _ = try? Files.unlink(path, isDirectory: true) }
    }
}
