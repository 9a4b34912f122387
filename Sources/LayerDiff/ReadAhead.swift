// SPDX-License-Identifier: Apache-2.0

import LinuxSys
package import Storage
import Synchronization

/// Reads a source on a thread of its own, ahead of whoever takes its entries.
///
/// The source is asked for the content of every file, whether somebody wants that or not. Memory: 2 MiB, and the
/// entries that are ahead, some 8,000 at most.
package final class ReadAhead: LayerEntrySource {
    package let label: String
    private let worker: Worker
    private let input: RingReader
    /// Taken from the worker, the next one last.
    private var entries: [LayerEntry] = []

    /// With fewer entries to come, a thread is not worth its start.
    private static let worthwhile = 64

    private init(_ source: any LayerEntrySource) throws {
        label = source.label
        (worker, input) = try doing("read \(source.label)") {
            let worker = Worker(source, try StreamRing(capacity: 2 << 20, readers: 1))
            let input = RingReader(worker.ring, reader: 0)
            try worker.start()
            return (worker, input)
        }
    }

    /// Calls `body` with what takes the place of `source`, which nobody uses any more when this returns.
    ///
    /// - Parameter count: how many entries `source` has, about.
    package static func reading<R>(
        _ source: any LayerEntrySource,
        count: Int,
        _ body: (any LayerEntrySource) throws -> R
    ) throws -> R {
        if count < worthwhile { return try body(source) }
        let ahead = try ReadAhead(source)
        defer { ahead.worker.cancel() }
        let result = try body(ahead)
        while try ahead.next() != nil {}
        return result
    }

    package func next() throws -> LayerEntry? {
        while let length = try nextPiece() {
            if length > 0 {
                _ = try piece(length)
                input.advance(length)
                continue
            }
            input.advance(Worker.entryRoom - Worker.header)
            if entries.isEmpty { entries = worker.take() }
            return entries.popLast()
        }
        return nil
    }

    package func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        while let length = try nextLength(), length > 0 {
            input.advance(Worker.header)
            try body(try piece(length))
            input.advance(length)
        }
    }

    package func writeContent(to file: CInt) throws { try writeWithHoles(to: file) }

    /// Passes the header of what comes next.
    private func nextPiece() throws -> Int? {
        guard let length = try nextLength() else { return nil }
        input.advance(Worker.header)
        return length
    }

    /// How long the next piece of content is; 0 for an entry, `nil` at the end.
    private func nextLength() throws -> Int? {
        let view = try input.peek(Worker.header)
        return view.isEmpty ? nil : view.loadUnaligned(as: Int.self)
    }

    private func piece(_ length: Int) throws -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: try input.peek(length)[..<length])
    }
}

/// The thread, and what it has read: content in the ring, piece by piece behind their lengths, and the entries beside
/// it, for each of which a length of 0 stands in the ring.
///
/// The source belongs to the thread until it is joined.
private final class Worker: @unchecked Sendable {
    static let header = MemoryLayout<Int>.size
    /// What an entry takes of the ring, so that their number is bounded by it too.
    static let entryRoom = 256
    private static let mostContent = 128 << 10
    /// What is given on at once.
    private static let batch = 16 << 10

    let ring: StreamRing
    private let source: any LayerEntrySource
    private let entries = Mutex<[LayerEntry]>([])
    private let thread = Mutex<Thread?>(nil)
    private var room = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var filled = 0

    init(_ source: any LayerEntrySource, _ ring: StreamRing) {
        self.source = source
        self.ring = ring
    }

    func start() throws(SystemError) {
        let started = try Thread { [self] in run() }
        thread.withLock { $0 = started }
    }

    /// All entries that were read and not taken, in reverse.
    func take() -> [LayerEntry] {
        entries.withLock { entries in
            let taken = entries
            entries = []
            return taken.reversed()
        }
    }

    /// Ends the thread and waits for it.
    func cancel() {
        ring.cancel()
        thread.withLock { $0.take() }?.join()
    }

    private func run() {
        var failure: (any Error)?
        do {
            while let entry = try source.next() {
                entries.withLock { $0.append(entry) }
                try put(0, Self.entryRoom - Self.header) { _ in }
                if case .regular(let size) = entry.kind, size > 0 { try source.readContent(put) }
            }
        } catch {
            failure = error
        }
        ring.commit(filled)
        ring.end(failure)
    }

    private func put(_ content: UnsafeRawBufferPointer) throws {
        var rest = content[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.mostContent))
            try put(piece.count, piece.count) { $0.copyMemory(from: piece) }
            rest = rest.dropFirst(piece.count)
        }
    }

    /// Puts a length and `count` bytes behind it.
    private func put(_ length: Int, _ count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) throws {
        let needed = Self.header + count
        if filled >= Self.batch || needed > room.count - filled {
            ring.commit(filled)
            filled = 0
            room = try ring.reserve(needed)
        }
        let place = UnsafeMutableRawBufferPointer(rebasing: room[filled..<(filled + needed)])
        place.storeBytes(of: length, as: Int.self)
        fill(UnsafeMutableRawBufferPointer(rebasing: place[Self.header...]))
        filled += needed
    }
}
