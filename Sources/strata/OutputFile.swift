// SPDX-License-Identifier: Apache-2.0

import Engine
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// A file that a verb writes as a whole: it appears under its name when it is complete, or not at all.
enum OutputFile {
    /// Standard output, for a tar: never a terminal.
    static func standardOutput() throws -> SharedFD {
        guard !Console.output.isTerminal else {
            throw EngineError(
                .usage,
                "cowardly refusing to write a tar to a terminal: use --output or redirect"
            )
        }
        return SharedFD(try .duplicating(STDOUT_FILENO))
    }

    static func write(_ path: FilePath, _ body: (SharedFD) throws -> Void) throws {
        if let status = try Files.status(path), status.kind != .regular {
            // A device or a pipe: written as it is.
            return try naming(path) { try body(SharedFD(try Files.open(path, O_WRONLY))) }
        }
        let temporary = path.removingLastComponent().appending(
            ".\(path.lastComponent?.string ?? "").\(getpid())"
        )
        try naming(path) {
            let file = SharedFD(
                try Files.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
            )
            do {
                try body(file)
                try Files.rename(temporary, to: path)
            } catch {
                _ = try? Files.unlink(temporary)
                throw error
            }
        }
    }

    /// Names the output in failures that are its own; those of the store say themselves what they are about.
    private static func naming(_ path: FilePath, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch let failure as OutputFailure {
            throw OutputFailure(failure.error, name: path.printable)
        } catch let error as SystemError {
            throw OutputFailure(error, name: path.printable)
        }
    }
}
