// SPDX-License-Identifier: Apache-2.0

import CLinux
import Engine
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// A file that a verb writes as a whole: it appears under its name when it is complete, or not at all, unless a link leads
/// to it.
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

    /// Replaces the file as a whole when `body` has ended well.
    ///
    /// Where a link leads, a device and a pipe are written as they are, by the kernel's rules for links of others. What a
    /// link leads to keeps its content if `body` fails before it writes, and never has the end of it behind what is new.
    static func write(_ path: FilePath, _ body: (SharedFD) throws -> Void) throws {
        try naming(path) {
            if let status = try Files.status(path), status.kind != .regular {
                let file = SharedFD(try Files.open(path, O_WRONLY))
                do {
                    try body(file)
                } catch {
                    if lseek(file.raw, 0, SEEK_CUR) > 0 { try? endHere(file.raw) }
                    throw error
                }
                return try endHere(file.raw)
            }
            let temporary = path.removingLastComponent().appending(
                ".\(path.lastComponent?.string ?? "").\(getpid())"
            )
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

    /// Fails where `write` surely would, before there is anything to write.
    static func check(_ path: FilePath) throws {
        try naming(path) {
            var (place, mode) = (path, W_OK)
            switch try Files.status(path)?.kind {
            case .directory: throw SystemError("open", path.printable, .isDirectory)
            case nil, .regular:
                let parent = path.removingLastComponent()
                (place, mode) = (parent.isEmpty ? "." : parent, W_OK | X_OK)
            default:
                let target = try Files.open(path, CLINUX_O_PATH)
                if try Files.status(of: target.raw).kind == .directory {
                    throw SystemError("open", path.printable, .isDirectory)
                }
            }
            try system("access", place.printable) { place.withPlatformString { access($0, mode) } }
        }
    }

    /// Cuts off what is left of a longer file behind what was written.
    ///
    /// Not of one that this program was given open to write to, as /dev/stdout: who has it open goes on with it.
    private static func endHere(_ file: CInt) throws(SystemError) {
        let status = try Files.status(of: file)
        guard status.kind == .regular else { return }
        for given in [STDOUT_FILENO, STDERR_FILENO] {
            guard let other = try? Files.status(of: given) else { continue }
            if other.device == status.device, other.inode == status.inode { return }
        }
        let end = try system("lseek") { lseek(file, 0, SEEK_CUR) }
        try system("ftruncate") { ftruncate(file, end) }
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
