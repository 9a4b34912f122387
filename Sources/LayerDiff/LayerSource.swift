// SPDX-License-Identifier: Apache-2.0

/// One layer of an image, for whoever unpacks it: what it must turn out to be, and how to read it.
package struct LayerSource: Sendable {
    /// The digest that its tar must have.
    package var diffID: Digest
    /// Names this layer on the layers below it.
    package var chainID: Digest
    /// Bytes of the blob, where that is known; for progress.
    package var size: Int64?
    /// Begins to read the layer from its start.
    ///
    /// May be called more than once, from any thread; the stream verifies the digests in `finish`. Fails with
    /// `.notFound` if there is no blob.
    package var open: @Sendable () throws -> LayerStream
    /// To be called with what a stream's `finish` gave, once the layer is unpacked.
    ///
    /// Does not wait for the disk.
    package var completed: @Sendable (LayerDigests) throws -> Void

    package init(
        diffID: Digest,
        chainID: Digest,
        size: Int64?,
        open: @escaping @Sendable () throws -> LayerStream,
        completed: @escaping @Sendable (LayerDigests) throws -> Void = { _ in }
    ) {
        self.diffID = diffID
        self.chainID = chainID
        self.size = size
        self.open = open
        self.completed = completed
    }
}
