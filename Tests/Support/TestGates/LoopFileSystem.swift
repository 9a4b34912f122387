// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Synchronization
package import SystemPackage

/// A fresh file system in a file, mounted below a temporary directory; both go with the last reference.
package final class LoopFileSystem: Sendable {
    /// Where it is mounted.
    package let path: FilePath
    private let directory: TemporaryDirectory

    /// - Parameters:
    ///   - type: of which there is a program `mkfs.<type>`.
    ///   - size: of the file, which is sparse.
    package init(_ type: String, size: Int64 = 4 << 30, options: [String] = []) throws {
        directory = try TemporaryDirectory()
        path = directory.appending("mount")
        let file = directory.appending("disk")
        let disk = try Files.open(file, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
        try system("ftruncate") { ftruncate(disk.raw, Int(size)) }
        try Files.makeDirectory(path)
        try Self.run(["mkfs.\(type)", "-q"] + options + [file.string])
        try Self.mount(type, file, at: path)
    }

    private static func mount(_ type: String, _ file: FilePath, at path: FilePath) throws {
        let loop = try LoopDevice.attach(file)
        let mount = try DetachedMount.make(type, [.string("source", loop.path.string)])
        try DetachedMount.attach(mount.raw, at: path, below: AT_FDCWD)
    }

    deinit { umount2(path.string, Int32(MNT_DETACH)) }

    /// One for all tests of this process that want no more of it than its type.
    package static func shared(_ type: String) throws -> LoopFileSystem {
        try all.withLock { all in
            if let present = all[type] { return present }
            // Nothing releases what is static.
            if all.isEmpty { atexit { LoopFileSystem.all.withLock { $0 = [:] } } }
            let new = try LoopFileSystem(type)
            all[type] = new
            return new
        }
    }

    private static let all = Mutex<[String: LoopFileSystem]>([:])

    /// Runs a program that must end well.
    private static func run(_ words: [String]) throws {
        // Also where the path of the one who tests leaves out what is for administrators.
        let program = Need.find(words[0])?.string ?? words[0]
        let outcome = try Program.run([program] + words.dropFirst())
        if outcome.code != 0 { throw UnexpectedOutcome(description: "\(outcome)") }
    }
}

/// A file system in memory, mounted, that goes with this object: for what makes and removes files for so long that a disk
/// takes hours.
package final class MemoryFileSystem: Sendable {
    /// Where it is mounted.
    package let path: FilePath
    private let directory: TemporaryDirectory

    package init() throws {
        directory = try TemporaryDirectory()
        path = directory.appending("mount")
        try Files.makeDirectory(path)
        let mount = try DetachedMount.make("tmpfs", [])
        try DetachedMount.attach(mount.raw, at: path, below: AT_FDCWD)
    }

    deinit { umount2(path.string, Int32(MNT_DETACH)) }
}
