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

    /// Somebody else may be trying to take the loop device that the program chose, which is busy for that moment.
    private static func mount(_ type: String, _ file: FilePath, at path: FilePath) throws {
        var tries = 0
        while true {
            do {
                return try run(["mount", "-t", type, "-o", "loop", file.string, path.string])
            } catch {
                tries += 1
                if tries == 100 { throw error }
                usleep(100_000)
            }
        }
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
        guard let program = Need.find(words[0]) else {
            throw SystemError("find program", words[0], .noSuchFileOrDirectory)
        }
        var pid: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let code = posix_spawn(&pid, program.string, &actions, nil, &arguments, environ)
        guard code == 0 else { throw SystemError("start", words[0], Errno(rawValue: code)) }
        var status: CInt = 0
        try system("waitpid") { waitpid(pid, &status, 0) }
        if status != 0 { throw SystemError("run", words.joined(separator: " "), .ioError) }
    }
}
