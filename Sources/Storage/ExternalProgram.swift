// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
package import SystemPackage

/// A program of the system that does what has no library: makes a file system, checks one.
package struct ExternalProgram: Sendable {
    package let path: FilePath
    /// The Debian package.
    package let package: String

    /// Looked for in PATH and where system programs lie; an error if it is nowhere.
    package init(_ name: String, package: String) throws {
        let given = getenv("PATH").map { String(cString: $0) } ?? ""
        let places =
            given.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        guard
            let path = places.map({ FilePath($0).appending(name) }).first(where: {
                access($0.string, X_OK) == 0
            })
        else {
            throw StorageError(
                .unsupported,
                "run \(name), which the storage driver needs: it is not installed",
                remedy: "install the package \(package)"
            )
        }
        self.path = path
        self.package = package
    }

    /// Runs it to its end; its exit code, 128 + N for signal N, and the start of what it printed.
    package func run(_ arguments: [String]) throws(SystemError) -> (code: CInt, output: String) {
        let memory = OwnedFD(adopting: try system("memfd_create") { clinux_memfd_create("output", 0) })
        let pid = try spawn(arguments, output: memory.raw)
        var status: CInt = 0
        try system("wait for", path.string) { waitpid(pid, &status, 0) }
        try system("lseek") { lseek(memory.raw, 0, SEEK_SET) }
        var text = [UInt8](repeating: 0, count: 2048)
        var count = 0
        var failure: SystemError?
        text.withUnsafeMutableBytes { buffer in
            do throws(SystemError) { count = try Files.read(memory.raw, into: buffer) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        let signal = status & 0x7F
        let code = signal == 0 ? status >> 8 & 0xFF : 128 + signal
        return (code, String(decoding: text[..<count], as: UTF8.self))
    }

    private func spawn(_ arguments: [String], output: CInt) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        var words: [UnsafeMutablePointer<CChar>?] = ([path.string] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, path.string, &actions, nil, &words, environ)
        if code != 0 { throw SystemError("start", path.string, Errno(rawValue: code)) }
        return pid
    }
}
