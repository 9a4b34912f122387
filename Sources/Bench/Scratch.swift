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
    private let lock: FileLock

    /// - Parameter parent: made if it is missing.
    private init(below parent: FilePath) throws {
        try doing("make \(parent)") { try Files.makeDirectories(parent) }
        Self.sweep(parent)
        var random = SystemRandomNumberGenerator()
        let name = Self.prefix + String(random.next() as UInt32, radix: 36)
        let path = parent.appending(name)
        self.path = path
        lock = try doing("make \(path)") {
            try Files.makeDirectory(path)
            guard let lock = try FileLock.acquire(path.appending("lock"), .exclusive, wait: false) else {
                throw SystemError("flock", name, .wouldBlock)
            }
            return lock
        }
    }

    /// Calls `body` with a new one's path, and removes it whatever comes of that.
    static func with<T>(below parent: FilePath, _ body: (FilePath) throws -> T) throws -> T {
        let scratch = try Scratch(below: parent)
        do {
            let result = try body(scratch.path)
            try scratch.remove()
            return result
        } catch {
            try? scratch.remove()
            throw error
        }
    }

    private static func sweep(_ parent: FilePath) {
        guard let directory = try? Files.openDirectory(parent), let entries = try? Files.list(directory.raw)
        else {
            return
        }
        for entry in entries where entry.name.bytes.starts(with: prefix.utf8) {
            let path = parent.appending(entry.name.printable)
            guard let lock = try? FileLock.acquire(path.appending("lock"), .exclusive, wait: false) else {
                continue
            }
            try? Files.removeTree(path)
            withExtendedLifetime(lock) {}
        }
    }

    private func remove() throws {
        try doing("remove \(path)") { try Files.removeTree(path) }
    }
}
