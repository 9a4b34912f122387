// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
import Storage
import Synchronization
import SystemPackage

/// Bytes that are read once, in order.
package protocol ByteSource: AnyObject {
    /// Reads into a buffer that is not empty; 0 is the end. May return less than fits.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// Takes bytes in order.
package protocol ByteSink: AnyObject {
    /// Takes all of `bytes` or throws.
    func write(_ bytes: UnsafeRawBufferPointer) throws
}

/// How many bytes have passed somewhere: written by one thread, read by any.
package final class ByteCount: Sendable {
    private let count = Atomic<Int64>(0)

    package init() {}

    package var value: Int64 { count.load(ordering: .relaxed) }

    func add(_ bytes: Int) { count.wrappingAdd(Int64(bytes), ordering: .relaxed) }
}

/// A part of a file, read by position, so that several regions may share one descriptor.
package final class FileRegion: ByteSource, @unchecked Sendable {
    private let file: SharedFD
    private var offset: Int64
    private var left: Int64?

    /// - Parameter length: `nil` for all that follows `offset`. A file that ends before is an error when it is read.
    package init(_ file: SharedFD, offset: Int64 = 0, length: Int64? = nil) {
        self.file = file
        self.offset = offset
        left = length
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let room = left.map { Int(min($0, Int64(buffer.count))) } ?? buffer.count
        if room <= 0 { return 0 }
        let count = try system("pread") { pread(file.raw, buffer.baseAddress, room, off_t(offset)) }
        if count == 0, left != nil { throw SystemError("read to the end of the region", nil, .noData) }
        offset += Int64(count)
        left = left.map { $0 - Int64(count) }
        return count
    }
}

/// What comes from a descriptor at its own position: a pipe, a socket, a file.
///
/// A read that waits for another process fails with `.interrupted` when `Stall` ends.
package final class DescriptorSource: ByteSource, @unchecked Sendable {
    private let file: SharedFD
    private let mayStall: Bool

    package init(_ file: SharedFD) {
        self.file = file
        mayStall = (try? Files.status(of: file.raw))?.kind != .regular
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if mayStall, try !Stall.wait(file.raw, for: POLLIN) {
            throw StorageError(.interrupted, "read the input: interrupted")
        }
        return try system("read") { Glibc.read(file.raw, buffer.baseAddress, buffer.count) }
    }
}

/// Writes to a descriptor at its own position, in pieces of at least `bufferSize` except the last.
package final class DescriptorSink: ByteSink {
    private let file: SharedFD
    /// The same pipe, of which a write takes what there is room for; others may have to wait at the one that was given.
    private let pipe: SharedFD?
    private let buffer: UnsafeMutableRawBufferPointer
    private var used = 0
    package private(set) var written: Int64 = 0

    /// - Parameter isOutput: where it leads may be slow; a write that waits fails with `.interrupted` when `Stall` ends.
    package init(_ file: SharedFD, bufferSize: Int = 256 << 10, isOutput: Bool = false) {
        self.file = file
        pipe = isOutput ? Self.pipe(file) : nil
        buffer = .allocate(byteCount: max(bufferSize, 1), alignment: 4096)
    }

    deinit { buffer.deallocate() }

    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        written += Int64(bytes.count)
        if bytes.count > buffer.count - used { try flush() }
        if bytes.count >= buffer.count { return try pass(bytes) }
        UnsafeMutableRawBufferPointer(rebasing: buffer[used...]).copyMemory(from: bytes)
        used += bytes.count
    }

    /// Must be called at the end: nothing is written by the destructor.
    package func flush() throws {
        try pass(UnsafeRawBufferPointer(rebasing: buffer[..<used]))
        used = 0
    }

    /// `nil` for what is no pipe, or may not be opened again.
    private static func pipe(_ file: SharedFD) -> SharedFD? {
        guard (try? Files.status(of: file.raw))?.kind == .fifo else { return nil }
        return try? SharedFD(Files.open("/proc/self/fd/\(file.raw)", O_WRONLY | O_NONBLOCK))
    }

    private func pass(_ bytes: UnsafeRawBufferPointer) throws {
        guard let pipe else { return try Files.writeAll(bytes, to: file.raw) }
        var rest = bytes
        while !rest.isEmpty {
            let piece = rest
            let count = try systemAnswer("write", expecting: .wouldBlock) {
                Glibc.write(pipe.raw, piece.baseAddress, piece.count)
            }
            if let count {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            } else if try !Stall.wait(pipe.raw, for: POLLOUT) {
                throw StorageError(.interrupted, "write the output: interrupted")
            }
        }
    }
}

/// Hashes what is written to it and, if there is a next sink, passes it on.
package final class HashingSink: ByteSink {
    /// Made by the thread that writes, with the first bytes: that may take as long as hashing megabytes.
    private var hasher: SHA256Hasher?
    private var isFinished = false
    private let next: (any ByteSink)?
    package private(set) var count: Int64 = 0

    package init(next: (any ByteSink)? = nil) { self.next = next }

    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        if hasher == nil, !isFinished { hasher = SHA256Hasher() }
        hasher?.update(bytes)
        count += Int64(bytes.count)
        try next?.write(bytes)
    }

    /// The digest of all that was written; nothing may be written after.
    ///
    /// `nil` the second time.
    package func finish() -> Digest? {
        if isFinished { return nil }
        isFinished = true
        return (hasher.take() ?? SHA256Hasher()).finish()
    }
}
