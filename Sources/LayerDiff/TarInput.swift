// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys

/// Where a tar comes from: contiguous views of what comes next.
protocol TarInput: AnyObject {
    /// The most that `peek` can be asked for.
    var window: Int { get }

    /// What comes next: at least `count` bytes, fewer only if the stream ends before. Valid until `advance`.
    func peek(_ count: Int) throws -> UnsafeRawBufferPointer

    /// Passes `count` bytes, at most what `peek` gave last.
    func advance(_ count: Int)

    /// Passes `count` bytes of any number; says how many there were.
    func skip(_ count: Int64) throws -> Int64
}

/// One reader of a ring.
///
/// For one thread at a time.
final class RingReader: TarInput {
    private let ring: StreamRing
    private let reader: Int
    private var position = 0
    private var released = 0
    /// What lies before the reader, as last seen.
    private var view = UnsafeRawBufferPointer(start: nil, count: 0)

    /// Passed bytes are given back in batches: often enough that the producer is never short of room.
    private let batch: Int

    init(_ ring: StreamRing, reader: Int) {
        self.ring = ring
        self.reader = reader
        batch = ring.capacity / 16
    }

    var window: Int { ring.capacity / 2 }

    func peek(_ count: Int) throws -> UnsafeRawBufferPointer {
        if view.count >= count { return view }
        view = try ring.read(reader, from: position, atLeast: count)
        released = position
        return view
    }

    func advance(_ count: Int) {
        position += count
        view = UnsafeRawBufferPointer(rebasing: view[count...])
        if position - released >= batch {
            ring.release(reader, to: position)
            released = position
        }
    }

    func skip(_ count: Int64) throws -> Int64 {
        var left = count
        while left > 0 {
            let piece = try peek(Int(min(left, Int64(window / 4))))
            if piece.isEmpty { break }
            let passed = Int(min(Int64(piece.count), left))
            advance(passed)
            left -= Int64(passed)
        }
        return count - left
    }
}

/// A file read through a small window; skipping reads nothing.
final class FileInput: TarInput {
    let window = 1 << 20
    private let file: SharedFD
    private let end: Int64
    private var offset: Int64
    private let buffer: UnsafeMutableRawBufferPointer
    private var view = UnsafeRawBufferPointer(start: nil, count: 0)

    /// Reads `length` bytes of `file` from `offset` on.
    init(_ file: SharedFD, offset: Int64, length: Int64) {
        self.file = file
        self.offset = offset
        end = offset + length
        buffer = .allocate(byteCount: 1 << 20, alignment: 512)
    }

    deinit { buffer.deallocate() }

    func peek(_ count: Int) throws -> UnsafeRawBufferPointer {
        if view.count >= count { return view }
        let room = Int(min(Int64(max(count, 16 << 10)), end - offset, Int64(buffer.count)))
        var filled = 0
        while filled < room {
            let target = UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<room])
            let place = off_t(offset) + off_t(filled)
            let count = try system("pread") { pread(file.raw, target.baseAddress, target.count, place) }
            if count == 0 { break }
            filled += count
        }
        view = UnsafeRawBufferPointer(rebasing: buffer[..<filled])
        return view
    }

    func advance(_ count: Int) {
        offset += Int64(count)
        view = UnsafeRawBufferPointer(rebasing: view[count...])
    }

    func skip(_ count: Int64) throws -> Int64 {
        let passed = min(count, end - offset)
        offset += passed
        view =
            passed < Int64(view.count)
            ? UnsafeRawBufferPointer(rebasing: view[Int(passed)...])
            : UnsafeRawBufferPointer(start: nil, count: 0)
        return passed
    }
}
