// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import Storage

package struct LayerDigests: Hashable, Sendable {
    /// Of the uncompressed tar.
    package var diffID: Digest
    /// Of the blob as it is.
    package var blobDigest: Digest
    package var blobSize: Int64
    package var tarSize: Int64
    package var compression: Compression
}

package struct LayerStreamOptions: Sendable {
    /// What is read, for messages: `layer sha256:…`.
    package var label: String
    package var expectedBlobDigest: Digest?
    package var expectedDiffID: Digest?
    package var limits = LayerLimits()
    /// The blob's bytes are written to it as they pass, at its own position.
    package var blobSink: SharedFD?
    /// Whether the page cache had better keep that: but for `import`, hardly anything reads it again.
    package var sinkIsReadSoon = true
    package var allowed: Set<Compression> = [.none, .gzip, .zstd]

    package init(
        label: String,
        expectedBlobDigest: Digest? = nil,
        expectedDiffID: Digest? = nil,
        blobSink: SharedFD? = nil
    ) {
        self.label = label
        self.expectedBlobDigest = expectedBlobDigest
        self.expectedDiffID = expectedDiffID
        self.blobSink = blobSink
    }
}

/// A layer blob, read once: decompression, both digests and the stored copy run on threads beside the caller, who
/// takes the entries and makes the files.
///
/// Ends with `finish`, which alone says whether the digests are right, or with `cancel`, which the destructor also
/// does. Memory: some 6 MiB, and a zstd frame's window. For one thread at a time, except `cancel`.
package final class LayerStream: LayerEntrySource {
    package let label: String
    package let compression: Compression
    private let options: LayerStreamOptions
    private let pipeline: LayerPipeline
    private let entries: TarEntries
    private var isAtEnd = false

    /// Reads the start of `source` to see how it is compressed; the rest is read by another thread, which holds the
    /// source until `finish` or `cancel` returns.
    package init(source: any ByteSource & Sendable, options: LayerStreamOptions) throws {
        label = options.label
        self.options = options
        pipeline = try LayerPipeline(source, options)
        compression = pipeline.compression
        entries = TarEntries(TarMembers(pipeline.tar, label: options.label, limits: options.limits))
        try pipeline.start()
    }

    deinit { pipeline.cancel() }

    package func next() throws -> LayerEntry? {
        if isAtEnd { return nil }
        let entry = try pipeline.clarifying { try entries.next() }
        isAtEnd = entry == nil
        return entry
    }

    package func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try pipeline.clarifying { try entries.readContent(body) }
    }

    package func writeContent(to file: CInt) throws {
        try pipeline.clarifying { try entries.writeContent(to: file) }
    }

    /// Bytes of the blob that were read, a little ahead of the entries.
    package var blobBytes: ByteCount { pipeline.read }

    /// Bytes of the uncompressed tar that were passed.
    package var tarOffset: Int64 { entries.members.offset }

    /// Reads the blob to its very end, joins the threads and verifies what was expected.
    ///
    /// Entries that were not taken are passed over unread.
    package func finish() throws -> LayerDigests {
        let digests = try pipeline.clarifying { try pipeline.finish() }
        isAtEnd = true
        if let expected = options.expectedBlobDigest, expected != digests.blobDigest {
            throw StorageError(
                .corrupt,
                "read \(label): its digest is \(digests.blobDigest), not \(expected)"
            )
        }
        if let expected = options.expectedDiffID, expected != digests.diffID {
            throw StorageError(.corrupt, "read \(label): its DiffID is \(digests.diffID), not \(expected)")
        }
        return digests
    }

    /// Stops and joins the threads; afterwards every call throws.
    ///
    /// From any thread, any number of times. Waits for a read of the source that is under way.
    package func cancel() { pipeline.cancel() }
}
