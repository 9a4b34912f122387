// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
package import LinuxSys
import Storage
import StoreRoot

/// How a root file system becomes an image.
package struct ImageImport: Sendable {
    package var references: [Reference] = []
    package var changes: ConfigChanges?
    package var message = ""
    package var platform = Platform.host
    package var created = Timestamp.now
    /// Where it came from, for the history.
    package var label: String

    package init(label: String) { self.label = label }
}

extension ImageStore {
    /// Reads a tar of a root file system, however compressed, to its end, and makes an image of one layer of
    /// it.
    ///
    /// The tar is kept as it came, xz and bzip2 apart, for which OCI has no type: those are kept plain. It is
    /// read once more by whoever unpacks the layer of the load that this gives.
    package func importRootFS(_ file: SharedFD, _ options: ImageImport) throws -> ImageLoad {
        try blobs.establish()
        let batch = BlobBatch(blobs)
        let copy = try batch.unnamedFile()
        let label = options.label
        let digests = try read(file, into: copy, label: label)
        guard let mediaType = MediaType.layer(digests.compression) else {
            throw StorageError(.unsupported, "import \(label): \(digests.compression.rawValue) compression")
        }
        let blob = BlobStore.Record(
            digest: digests.blobDigest,
            size: digests.blobSize,
            mediaType: mediaType,
            diffID: digests.diffID
        )
        if try batch.existing(blob.digest) == nil { try batch.add(copy, blob) }
        var config = ImageConfig(platform: options.platform)
        var process = config.process
        try options.changes?.apply(to: &process)
        config.process = process
        config.append(
            digests.diffID,
            ImageConfig.HistoryEntry(created: options.created, createdBy: "", comment: options.message)
        )
        config.set(created: options.created, author: nil, comment: options.message)
        var origin = ImageLoad.Origin()
        origin.sizes[0] = digests.tarSize
        return try ImageLoad(
            store: self,
            batch: batch,
            config: config,
            configBytes: config.bytes,
            manifest: nil,
            references: options.references,
            contents: [LayerContent(diffID: digests.diffID, blob: nil, member: nil, label: label)],
            origin: origin
        )
    }

    /// Copies the tar and reads all its entries, so that what is no tar is refused at once.
    private func read(_ file: SharedFD, into copy: SharedFD, label: String) throws -> LayerDigests {
        let source = try DecompressedSource(DescriptorSource(file), label: label)
        let stream: LayerStream
        switch source.compression {
        case .none, .xz, .bzip2:
            stream = try LayerStream(
                source: source,
                options: LayerStreamOptions(label: label, blobSink: copy)
            )
        case .gzip, .zstd:
            stream = try LayerStream(
                source: source.asItCame(),
                options: LayerStreamOptions(label: label, blobSink: copy)
            )
        }
        var count = 0
        while try stream.next() != nil { count += 1 }
        guard count > 0 else {
            throw StorageError(.invalid, "import \(label): an empty archive, or none at all")
        }
        return try stream.finish()
    }
}
