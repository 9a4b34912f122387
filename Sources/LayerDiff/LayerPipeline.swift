// SPDX-License-Identifier: Apache-2.0

import CCodecs
import Glibc
import LinuxSys
import Storage
import Synchronization

/// The threads of a `LayerStream` and what joins them.
///
///     source -> feeder -> [blob ring] -> decoder -> [tar ring] -> caller (entries)
///                 |                                      \-----> hasher (DiffID)
///                 +-> blob digest, stored blob
///
/// An uncompressed blob needs neither decoder nor hasher: the blob ring is the tar ring, both digests are one. The
/// feeder hashes and stores a piece right after it gave it on, while it is in the cache.
///
/// The caller makes the files alone. What was tried instead, loads of 20,000 small files on two processors in ms, elapsed and of
/// both processors (305 / 495 as it is): a second thread that fills another directory meanwhile, 337 / 588, since each
/// then takes a quarter longer for a file; all of them made by a thread that does nothing else, 329 / 545; times set and
/// files closed by another thread, nothing gained, for that one fetches each inode first; rings of 256 KiB to 4 MiB, alike.
final class LayerPipeline: @unchecked Sendable {
    let compression: Compression
    /// The caller's end.
    let tar: RingReader
    /// Bytes of the blob that were read.
    let read = ByteCount()
    private let source: any ByteSource & Sendable
    private let options: LayerStreamOptions
    private let blobRing: StreamRing
    private let tarRing: StreamRing
    private let threads = Mutex<[Thread]>([])
    /// Bytes of the blob that the initialiser read to see the compression.
    private let head: Int
    // Written by one thread each, read after it was joined.
    private var blobDigest: Digest?
    private var blobSize: Int64 = 0
    private var diffID: Digest?
    private var tarSize: Int64 = 0

    private static let blobCapacity = 1 << 20
    private static let tarCapacity = 4 << 20
    /// What is read from the source and hashed at once.
    private static let blobPiece = 256 << 10
    /// So much of a blob stays in the page cache.
    private static let cachedStart: Int64 = 1 << 20
    /// What is decoded and hashed at once: little, for it is read back from a cache.
    private static let tarPiece = 128 << 10

    init(_ source: any ByteSource & Sendable, _ options: LayerStreamOptions) throws {
        self.source = source
        self.options = options
        let start = try Self.readHead(source, options)
        head = start.count
        compression = start.withUnsafeBytes { Compression(magic: $0) }
        guard options.allowed.contains(compression) else {
            throw StorageError(
                .unsupported,
                "read \(options.label): \(compression.rawValue) compression is not supported here"
            )
        }
        (blobRing, tarRing) = try doing("read \(options.label)") { [compression] in
            if compression == .none {
                let ring = try StreamRing(capacity: Self.tarCapacity, readers: 1)
                return (ring, ring)
            }
            return (
                try StreamRing(capacity: Self.blobCapacity, readers: 1),
                try StreamRing(capacity: Self.tarCapacity, readers: 2)
            )
        }
        tar = RingReader(tarRing, reader: 0)
        let room = try blobRing.reserve(head)
        start.withUnsafeBytes { room.copyMemory(from: $0) }
    }

    /// The first bytes, enough to tell the compression.
    private static func readHead(_ source: any ByteSource, _ options: LayerStreamOptions) throws -> [UInt8] {
        var head = [UInt8](repeating: 0, count: 16)
        var filled = 0
        while filled < head.count {
            let count = try doing("read \(options.label)") {
                try head.withUnsafeMutableBytes {
                    try source.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[filled...]))
                }
            }
            if count == 0 { break }
            filled += count
        }
        return Array(head[..<filled])
    }

    /// Starts the threads.
    ///
    /// They hold the pipeline, not the stream, whose destructor therefore runs and ends them.
    func start() throws {
        do {
            if compression != .none {
                let decoder = try Decoder(compression, window: options.limits.window, label: options.label)
                try run { pipeline in pipeline.guarding(pipeline.tarRing) { try pipeline.decode(decoder) } }
                try run { pipeline in try? pipeline.hashTar() }  // fails only if another thread did
            }
            try run { pipeline in pipeline.guarding(pipeline.blobRing) { try pipeline.feed() } }
        } catch {
            cancel()
            throw error
        }
    }

    private func run(_ body: @escaping @Sendable (LayerPipeline) -> Void) throws {
        let thread = try doing("read \(options.label)") { try Thread { [self] in body(self) } }
        threads.withLock { $0.append(thread) }
    }

    /// Runs a producer and ends its ring, in whatever way.
    private func guarding(_ ring: StreamRing, _ body: () throws -> Void) {
        do {
            try body()
            ring.end()
        } catch {
            ring.end(error)
        }
    }

    // MARK: What the threads do

    /// Reads the source, gives on what it read, then hashes and stores it.
    private func feed() throws {
        Thread.yieldToOthers()
        var hasher = SHA256Hasher()
        var uncached = options.blobSink.map { UncachedWriter($0.raw) }
        var filled = head
        while true {
            let room = try blobRing.reserve(Self.blobPiece)
            let end = min(room.count, Self.blobPiece)
            while filled < end {
                let rest = UnsafeMutableRawBufferPointer(rebasing: room[filled..<end])
                let count = try doing("read \(options.label)") { try source.read(into: rest) }
                if count == 0 { break }
                filled += count
            }
            let piece = UnsafeRawBufferPointer(rebasing: room[..<filled])
            // Readers may pass it while it is hashed: only a later reserve gives the room to new bytes.
            blobRing.commit(filled)
            hasher.update(piece)
            if let sink = options.blobSink {
                try doing("store the blob of \(options.label)") {
                    // Of a small one the disk had better know with all others.
                    if options.sinkIsReadSoon || blobSize < Self.cachedStart {
                        try Files.writeAll(piece, to: sink.raw)
                    } else {
                        try uncached?.writeAll(piece)
                    }
                }
            }
            blobSize += Int64(filled)
            read.add(filled)
            if filled < end { break }
            filled = 0
        }
        blobDigest = hasher.finish()
    }

    private func decode(_ decoder: Decoder) throws {
        let input = RingReader(blobRing, reader: 0)
        defer { blobRing.cancel() }  // a feeder that goes on would wait for a reader that is gone
        var consumed: Int64 = 0
        var produced: Int64 = 0
        while true {
            let room = try tarRing.reserve(Self.tarPiece)
            var filled = 0
            while filled < Self.tarPiece {
                let view = try input.peek(1)
                let output = UnsafeMutableRawBufferPointer(rebasing: room[filled..<Self.tarPiece])
                let step = try decoder.decode(view, into: output)
                if view.isEmpty, step.produced == 0 { break }
                input.advance(step.consumed)
                filled += step.produced
                consumed += Int64(step.consumed)
            }
            produced += Int64(filled)
            try checkExpansion(produced, from: consumed)
            tarRing.commit(filled)
            if filled < Self.tarPiece { break }
        }
        try decoder.checkEnd()
        tarSize = produced
    }

    private func checkExpansion(_ produced: Int64, from consumed: Int64) throws {
        let limits = options.limits
        if produced > limits.tarSize {
            throw StorageError(
                .invalid,
                "read \(options.label): it is larger than \(limits.tarSize) bytes uncompressed"
            )
        }
        if produced > limits.freeExpansion, produced / max(consumed, 1) > limits.expansion {
            throw StorageError(
                .invalid,
                "read \(options.label): it expands more than \(limits.expansion) times beyond \(limits.freeExpansion) bytes"
            )
        }
    }

    private func hashTar() throws {
        Thread.yieldToOthers()
        var hasher = SHA256Hasher()
        let input = RingReader(tarRing, reader: 1)
        while true {
            let view = try input.peek(Self.tarPiece)
            if view.isEmpty { break }
            let piece = UnsafeRawBufferPointer(rebasing: view[..<min(view.count, Self.tarPiece)])
            hasher.update(piece)
            input.advance(piece.count)
        }
        diffID = hasher.finish()
    }

    // MARK: The caller

    /// Passes what is left of the tar, joins and collects.
    func finish() throws -> LayerDigests {
        while true {
            let view = try tar.peek(1)
            if view.isEmpty { break }
            tar.advance(view.count)
        }
        join()
        if compression == .none {
            diffID = blobDigest
            tarSize = blobSize
        }
        guard let blobDigest, let diffID else { throw StreamCancelled() }
        return LayerDigests(
            diffID: diffID,
            blobDigest: blobDigest,
            blobSize: blobSize,
            tarSize: tarSize,
            compression: compression
        )
    }

    func cancel() {
        blobRing.cancel()
        tarRing.cancel()
        join()
    }

    private func join() {
        threads.withLock { threads in
            for thread in threads { thread.join() }
            threads = []
        }
    }

    /// A stream that was cancelled says so in words.
    func clarifying<T>(_ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch is StreamCancelled {
            throw StorageError(.interrupted, "read \(options.label): cancelled")
        }
    }
}
