// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// Why a request fails: an errno, and nothing that would have to be allocated.
struct Failure: Error {
    let code: CInt

    init(_ code: CInt) { self.code = code }
}

/// The result of a call that gives `-errno` on failure.
@inline(__always)
@discardableResult
func check<T: SignedInteger & FixedWidthInteger>(_ result: T) throws(Failure) -> T {
    if result < 0 { throw Failure(CInt(truncatingIfNeeded: 0 &- result)) }
    return result
}

/// A name in a directory as a request gives it: bytes that end at a zero, valid while the request is served.
struct Name {
    let bytes: UnsafePointer<CChar>
    let count: Int

    init(_ bytes: UnsafePointer<CChar>) {
        self.bytes = bytes
        count = strlen(bytes)
    }

    init(_ bytes: UnsafePointer<CChar>, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    /// Names that mark something in a layer and so are none of a user's.
    var isMark: Bool { count >= 4 && memcmp(bytes, ".wh.", 4) == 0 }

    /// Names that mean something about their directory: `.wh..wh.…`.
    var isDirectoryMark: Bool { count >= 8 && memcmp(bytes, ".wh..wh.", 8) == 0 }

    var isDots: Bool {
        count > 0 && bytes[0] == 0x2E && (count == 1 || (count == 2 && bytes[1] == 0x2E))
    }

    /// Whether one directory entry can have this name.
    func checkSingle() throws(Failure) {
        if count == 0 { throw Failure(ENOENT) }
        if count > 255 { throw Failure(ENAMETOOLONG) }
        if isDots || memchr(bytes, 0x2F, count) != nil { throw Failure(EINVAL) }
    }

    /// Whether a user may give this name to something.
    func checkNew() throws(Failure) {
        try checkSingle()
        if isMark { throw Failure(EPERM) }
    }
}

/// Calls `body` with `text` ended by a zero.
func withBytes<R>(_ text: StaticString, _ body: (UnsafePointer<CChar>) -> R) -> R {
    text.utf8Start.withMemoryRebound(to: CChar.self, capacity: text.utf8CodeUnitCount + 1) { body($0) }
}

/// The empty name, by which calls mean the descriptor itself.
nonisolated(unsafe) let noName: UnsafePointer<CChar> = {
    let memory = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    memory.pointee = 0
    return UnsafePointer(memory)
}()

/// `.wh..wh..opq`, the mark of an opaque directory.
nonisolated(unsafe) let opaqueMark: UnsafePointer<CChar> = UnsafePointer(strdup(".wh..wh..opq"))

/// Where an object lies: `name` below the directory `fd`, or with an empty name what `fd` is.
struct Place {
    var fd: CInt
    var name: UnsafePointer<CChar>

    init(_ fd: CInt, _ name: UnsafePointer<CChar> = noName) {
        self.fd = fd
        self.name = name
    }

    func status() throws(Failure) -> stat {
        var result = stat()
        try check(cfuse_stat(fd, name, &result))
        return result
    }

    /// Opens a regular file or directory for use.
    func open(_ flags: CInt) throws(Failure) -> CInt {
        name.pointee == 0
            ? try check(cfuse_reopen(fd, flags)) : try check(cfuse_open(fd, name, flags, 0))
    }
}

/// Calls `body` with `.wh.` and `name`, which must not be longer than a whiteout's can be.
func withWhiteoutName<R, E>(
    _ name: Name,
    _ body: (UnsafePointer<CChar>) throws(E) -> R
) throws(E) -> R {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: name.count + 5) { (buffer) throws(E) in
        let base = buffer.baseAddress.unsafelyUnwrapped
        memcpy(base, ".wh.", 4)
        memcpy(base + 4, name.bytes, name.count)
        base[name.count + 4] = 0
        return try body(UnsafePointer(base))
    }
}

/// The longest name for which `.wh.` fits before it; longer ones are hidden by a device 0/0, as overlays do it.
let longestWhiteoutName = 251

extension stat {
    var inode: UInt64 { UInt64(st_ino) }
    var type: mode_t { st_mode & S_IFMT }
    var isDirectory: Bool { type == S_IFDIR }
    var isRegular: Bool { type == S_IFREG }
    /// A character device 0/0.
    var isWhiteoutDevice: Bool { type == S_IFCHR && st_rdev == 0 }
}
