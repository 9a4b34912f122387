// SPDX-License-Identifier: Apache-2.0

import CLinux
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

    /// Replaces the file as a whole when `body` has ended well.
    ///
    /// Where a link leads, a device and a pipe are written as they are, by the kernel's rules for links of others; what a
    /// link leads to keeps its content if `body` fails before it writes.
    static func write(_ path: FilePath, _ body: (SharedFD) throws -> Void) throws {
        try naming(path) {
            if let status = try Files.status(path), status.kind != .regular {
                let file = SharedFD(try Files.open(path, O_WRONLY))
                try body(file)
                if try status.kind == .symlink && !isOfProc(path) { try endHere(file.raw) }
                return
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
    private static func endHere(_ file: CInt) throws(SystemError) {
        guard try Files.status(of: file).kind == .regular else { return }
        let end = try system("lseek") { lseek(file, 0, SEEK_CUR) }
        try system("ftruncate") { ftruncate(file, end) }
    }

    /// Whether a link is one of proc(5), as /dev/stdout is: who has that file open goes on writing to it.
    private static func isOfProc(_ link: FilePath) throws(SystemError) -> Bool {
        if try Files.readLink(link).starts(with: "/proc/".utf8) { return true }
        let parent = link.removingLastComponent()
        let directory = try Files.open(parent.isEmpty ? "." : parent, CLINUX_O_PATH | O_DIRECTORY)
        return try Files.fileSystemType(directory.raw) == "proc"
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
