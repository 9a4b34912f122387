// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import Synchronization

/// The blobs of one image on their way into the store: held while the image is put together, made durable
/// together.
///
/// Until `commit` nothing of it has a name; a batch that is dropped, or whose process is killed, leaves
/// nothing.
final class BlobBatch: Sendable {
    private struct New {
        var file: SharedFD
        var record: BlobStore.Record

        func sync() throws {
            try doing("sync blob \(record.digest)") { _ = try system("fsync") { fsync(file.raw) } }
        }
    }

    private struct State {
        var locks: [Digest: BlobLock] = [:]
        var new: [Digest: New] = [:]
        /// Of the store, open since before the first blob was written.
        var directory: SharedFD?
    }

    private let store: BlobStore
    private let state = Mutex(State())

    /// Up to this size a blob is synced by itself, which does not wait for what others wrote.
    private static let small: Int64 = 256 << 10

    init(_ store: BlobStore) { self.store = store }

    /// The row of `digest`, whose blob now stays until this batch is gone; `nil` if it must be brought.
    func existing(_ digest: Digest) throws -> BlobStore.Record? {
        if let new = state.withLock({ $0.new[digest]?.record }) { return new }
        try hold(digest)
        guard let record = try store.record(of: digest) else { return nil }
        // A damaged blob is replaced by the one at hand.
        let status = try doing("look at blob \(digest)") { try Files.status(store.path(of: digest)) }
        return status?.kind == .regular && status?.size == record.size ? record : nil
    }

    /// A blob that holds the layer `diffID`, whatever its compression; it stays until this batch is gone.
    func existing(layer diffID: Digest) throws -> BlobStore.Record? {
        if let new = state.withLock({ $0.new.values.first { $0.record.diffID == diffID }?.record }) {
            return new
        }
        for record in try store.records(ofLayer: diffID) {
            if let held = try existing(record.digest) { return held }
        }
        return nil
    }

    /// The file of a blob of this batch or of the store.
    func open(_ record: BlobStore.Record) throws -> SharedFD {
        try state.withLock { $0.new[record.digest]?.file } ?? store.open(record)
    }

    func unnamedFile() throws -> SharedFD {
        let file = try store.unnamedFile()
        _ = try directory()
        return file
    }

    private func directory() throws -> SharedFD {
        try state.withLock { state in
            if let directory = state.directory { return directory }
            let directory = try doing("open \(store.path)") {
                SharedFD(try Files.openDirectory(store.path))
            }
            state.directory = directory
            return directory
        }
    }

    /// Takes a whole file, whose digest the caller computed.
    func add(_ file: SharedFD, _ record: BlobStore.Record) throws {
        try hold(record.digest)
        state.withLock { state in
            if state.new[record.digest] == nil { state.new[record.digest] = New(file: file, record: record) }
        }
    }

    /// Takes a document.
    @discardableResult
    func add(_ bytes: [UInt8], mediaType: String) throws -> Descriptor {
        let digest = Digest.sha256(of: bytes)
        let descriptor = Descriptor(mediaType: mediaType, digest: digest, size: Int64(bytes.count))
        if try existing(digest) != nil { return descriptor }
        let file = try unnamedFile()
        try doing("write blob \(digest)") { try Files.writeAll(bytes, to: file.raw) }
        try add(
            file,
            BlobStore.Record(digest: digest, size: descriptor.size, mediaType: mediaType, diffID: nil)
        )
        return descriptor
    }

    /// Names the blobs and makes them durable; the rows are the caller's next step (`insertRows`).
    func publish(sync: Bool) throws {
        let new = state.withLock { Array($0.new.values) }
        if new.isEmpty { return }
        let isSmall = new.count <= 4 && new.allSatisfy { $0.record.size <= Self.small }
        for blob in new {
            if sync, isSmall { try blob.sync() }
            try store.publish(blob.file, as: blob.record.digest)
        }
        if sync { try isSmall ? store.syncNames() : store.sync(by: directory()) }
    }

    func insertRows(in transaction: Transaction) throws {
        let now = Timestamp.now
        for blob in state.withLock({ Array($0.new.values) }) {
            try transaction.run(
                """
                INSERT INTO blobs (digest, size, media_type, diff_id, created) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (digest) DO UPDATE SET size = excluded.size, diff_id = coalesce(excluded.diff_id, diff_id)
                """,
                [
                    .text("\(blob.record.digest)"), .integer(blob.record.size), .text(blob.record.mediaType),
                    .optional(blob.record.diffID?.description), .integer(now.wholeNanoseconds),
                ]
            )
        }
    }

    private func hold(_ digest: Digest) throws {
        if state.withLock({ $0.locks[digest] != nil }) { return }
        guard let lock = try store.lock(digest, .shared, wait: true) else { return }
        state.withLock { $0.locks[digest] = lock }
    }
}

extension Timestamp {
    /// Nanoseconds since 1970, as the rows have it.
    var wholeNanoseconds: Int64 {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, tooLarge) = product.addingReportingOverflow(Int64(nanoseconds))
        return tooLarge ? .max : sum
    }

    init(wholeNanoseconds: Int64) {
        var (seconds, rest) = wholeNanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        if rest < 0 {
            seconds -= 1
            rest += 1_000_000_000
        }
        self.init(seconds: seconds, nanoseconds: UInt32(rest))
    }
}
