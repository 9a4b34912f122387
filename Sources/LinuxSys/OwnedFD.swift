// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import SystemPackage

/// A descriptor with one owner, closed once.
///
/// `exit()` does not run destructors; the kernel closes then.
package struct OwnedFD: ~Copyable, Sendable {
    package let raw: CInt

    package init(adopting raw: CInt) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Closes now and reports what the destructor would have to swallow (EIO, EDQUOT).
    package consuming func close() throws(SystemError) {
        let descriptor = raw
        discard self
        guard Glibc.close(descriptor) == -1 else { return }
        let code = Errno(rawValue: Glibc.errno)  // EINTR: Linux has freed the descriptor already
        if code != .interrupted { throw SystemError("close", nil, code) }
    }

    /// Gives the descriptor up to a new owner.
    package consuming func release() -> CInt {
        let descriptor = raw
        discard self
        return descriptor
    }

    /// A copy of a descriptor that somebody else owns.
    package static func duplicating(_ raw: CInt) throws(SystemError) -> OwnedFD {
        OwnedFD(adopting: try system("fcntl F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    package borrowing func duplicate() throws(SystemError) -> OwnedFD {
        try Self.duplicating(raw)
    }
}

/// A descriptor held in collections and shared by reference; closed with its last reference.
package final class SharedFD: Sendable {
    package let fd: OwnedFD
    package var raw: CInt { fd.raw }
    package init(_ fd: consuming OwnedFD) { self.fd = fd }
}

/// Calls on files below a directory descriptor.
///
/// Every name is looked up from `directory`; a final symlink is never followed. For host paths use
/// `AT_FDCWD`, which is the default.
package enum Files {
    package static func open(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD,
        _ flags: CInt,
        mode: UInt32 = 0
    ) throws(SystemError) -> OwnedFD {
        OwnedFD(
            adopting: try system("open", path.printable) {
                path.withCPath { clinux_openat(directory, $0, flags | O_CLOEXEC, mode) }
            }
        )
    }

    /// Opens a single name as a directory without following a symlink.
    package static func openDirectory(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD
    ) throws(SystemError) -> OwnedFD {
        try open(path, below: directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    /// statx(2) without following; `nil` if there is no such name.
    package static func status(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD
    ) throws(SystemError) -> FileStatus? {
        var raw = clinux_stat()
        let answer = try systemAnswer(
            "statx",
            path.printable,
            expecting: .noSuchFileOrDirectory,
            .notDirectory
        ) {
            path.withCPath { clinux_stat(directory, $0, &raw) }
        }
        return answer == nil ? nil : FileStatus(raw)
    }

    package static func status(of fd: CInt) throws(SystemError) -> FileStatus {
        var raw = clinux_stat()
        try system("statx") { clinux_stat(fd, "", &raw) }
        return FileStatus(raw)
    }

    package static func makeDirectory(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD,
        mode: UInt32 = 0o700
    ) throws(SystemError) {
        try system("mkdir", path.printable) { path.withCPath { mkdirat(directory, $0, mode) } }
    }

    /// Makes a directory unless the name exists already; says whether it was made.
    @discardableResult
    package static func ensureDirectory(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD,
        mode: UInt32 = 0o700
    ) throws(SystemError) -> Bool {
        try systemAnswer("mkdir", path.printable, expecting: .fileExists) {
            path.withCPath { mkdirat(directory, $0, mode) }
        } != nil
    }

    package static func rename(
        _ old: some PathConvertible,
        below oldDirectory: CInt = AT_FDCWD,
        to new: some PathConvertible,
        below newDirectory: CInt = AT_FDCWD,
        flags: UInt32 = 0
    ) throws(SystemError) {
        try system("rename", "\(old.printable) to \(new.printable)") {
            old.withCPath { o in
                new.withCPath { n in clinux_renameat2(oldDirectory, o, newDirectory, n, flags) }
            }
        }
    }

    /// Removes a name; absent is success, and the answer says whether it was there.
    @discardableResult
    package static func unlink(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD,
        isDirectory: Bool = false
    ) throws(SystemError) -> Bool {
        try systemAnswer("unlink", path.printable, expecting: .noSuchFileOrDirectory) {
            path.withCPath { unlinkat(directory, $0, isDirectory ? CLINUX_AT_REMOVEDIR : 0) }
        } != nil
    }

    /// The target of a symlink, as bytes; up to PATH_MAX.
    package static func readLink(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD
    ) throws(SystemError) -> [UInt8] {
        var target = [CChar](repeating: 0, count: 4096)
        let count = try system("readlink", path.printable) {
            path.withCPath { readlinkat(directory, $0, &target, target.count) }
        }
        return target[..<count].map { UInt8(bitPattern: $0) }
    }

    /// Writes all of `bytes` at the descriptor's position.
    package static func writeAll(_ bytes: UnsafeRawBufferPointer, to fd: CInt) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try system("write") { Glibc.write(fd, rest.baseAddress, rest.count) }
        }
    }

    package static func writeAll(_ bytes: [UInt8], to fd: CInt) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(SystemError) { try writeAll(buffer, to: fd) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Reads until `buffer` is full or the file ends; the count read.
    package static func read(
        _ fd: CInt,
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try system("read") { Glibc.read(fd, rest.baseAddress, rest.count) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// The whole content of a file, which may be at most `limit` bytes (EFBIG otherwise).
    package static func contents(
        _ path: some PathConvertible,
        below directory: CInt = AT_FDCWD,
        limit: Int = 64 << 20
    ) throws(SystemError) -> [UInt8] {
        let file = try open(path, below: directory, O_RDONLY | O_NOFOLLOW)
        return try contents(of: file.raw, limit: limit, name: path.printable)
    }

    package static func contents(of fd: CInt, limit: Int, name: String? = nil) throws(SystemError) -> [UInt8]
    {
        var bytes: [UInt8] = []
        // Most files are small, and memory that is not touched costs nothing.
        let size = Int(clamping: try status(of: fd).size)
        var chunk = [UInt8](repeating: 0, count: min(max(size, 4 << 10), 64 << 10))
        while true {
            let count = try system("read", name) {
                chunk.withUnsafeMutableBytes { Glibc.read(fd, $0.baseAddress, $0.count) }
            }
            if count == 0 { return bytes }
            if bytes.count + count > limit { throw SystemError("read", name, .fileTooLarge) }
            bytes.append(contentsOf: chunk[..<count])
        }
    }

    /// Replaces the file `path` as a whole: temporary beside it, rename.
    ///
    /// With `durable`, both file and directory are on disk when this returns.
    ///
    /// - Parameter place: another directory for the temporary, where one that a killed process left does no harm.
    package static func replace(
        _ path: FilePath,
        with bytes: [UInt8],
        mode: UInt32 = 0o600,
        durable: Bool = true,
        temporaryIn place: FilePath? = nil
    ) throws(SystemError) {
        let directory = try open(path.removingLastComponent(), O_RDONLY | O_DIRECTORY)
        let name = path.lastComponent?.string ?? ""
        // Of this thread alone: its descriptor is nobody else's while it is open.
        let own = ".\(name).\(getpid()).\(directory.raw)"
        let temporary = place.map { $0.appending(own).string } ?? own
        do throws(SystemError) {
            let file = try open(
                temporary,
                below: directory.raw,
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
                mode: mode
            )
            try writeAll(bytes, to: file.raw)
            if durable { try system("fsync", path.printable) { fsync(file.raw) } }
            try file.close()
            try rename(temporary, below: directory.raw, to: name, below: directory.raw)  // commit point
        } catch {
            _ = try? unlink(temporary, below: directory.raw)
            throw error
        }
        if durable { try system("fsync", path.removingLastComponent().printable) { fsync(directory.raw) } }
    }

    /// Makes every directory of `path` that is missing.
    package static func makeDirectories(_ path: FilePath, mode: UInt32 = 0o700) throws(SystemError) {
        if try status(path)?.kind == .directory { return }
        let parent = path.removingLastComponent()
        if parent != path, !parent.isEmpty { try makeDirectories(parent, mode: mode) }
        try ensureDirectory(path, mode: mode)
    }

    /// The lowest directory on the way to `path` that exists, by its own name or through a symlink; `path` itself if
    /// it does.
    package static func nearestDirectory(to path: FilePath) throws(SystemError) -> FilePath {
        var path = path
        while try !leadsToDirectory(path) {
            let parent = path.removingLastComponent()
            if parent == path || parent.isEmpty { return path.isAbsolute ? "/" : "." }
            path = parent
        }
        return path
    }

    private static func leadsToDirectory(_ path: FilePath) throws(SystemError) -> Bool {
        let opened = try systemAnswer(
            "open",
            path.printable,
            expecting: .noSuchFileOrDirectory,
            .notDirectory
        ) {
            path.withCPath { clinux_openat(AT_FDCWD, $0, CLINUX_O_PATH | O_DIRECTORY | O_CLOEXEC, 0) }
        }
        if let opened { _ = OwnedFD(adopting: opened) }
        return opened != nil
    }
}
