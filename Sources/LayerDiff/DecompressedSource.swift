// SPDX-License-Identifier: Apache-2.0

import Storage

/// What a source holds, without its compression, which its first bytes tell.
///
/// For one thread at a time.
///
/// For archives around layers; layers themselves are read by `LayerStream`, which does this on threads of
/// their own.
package final class DecompressedSource: ByteSource, @unchecked Sendable {
    package let compression: Compression
    private let source: any ByteSource
    private let decoder: Decoder?
    private let label: String
    private let limits: LayerLimits
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    /// What was read from the source and not used yet.
    private var pending: Range<Int>
    private var consumed: Int64 = 0
    private var produced: Int64 = 0
    private var isAtEnd = false

    package init(_ source: any ByteSource, label: String, limits: LayerLimits = LayerLimits()) throws {
        self.source = source
        self.label = label
        self.limits = limits
        var filled = 0
        // Enough to tell the compression.
        while filled < 16 {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = try doing("read \(label)") { try source.read(into: rest) }
            if count == 0 { break }
            filled += count
        }
        pending = 0..<filled
        compression = Compression(magic: UnsafeRawBufferPointer(rebasing: buffer[..<filled]))
        decoder = compression == .none ? nil : try Decoder(compression, window: limits.window, label: label)
    }

    deinit { buffer.deallocate() }

    package func read(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let decoder else { return try copy(into: output) }
        while !isAtEnd {
            if pending.isEmpty { try refill() }
            let view = UnsafeRawBufferPointer(rebasing: buffer[pending])
            let step = try decoder.decode(view, into: output)
            pending = (pending.lowerBound + step.consumed)..<pending.upperBound
            consumed += Int64(step.consumed)
            produced += Int64(step.produced)
            try checkExpansion()
            if step.produced > 0 { return step.produced }
            if view.isEmpty {
                try decoder.checkEnd()
                isAtEnd = true
            }
        }
        return 0
    }

    /// The source with its compression, from its start.
    ///
    /// Only before the first `read`, which must not follow.
    package func asItCame() -> any ByteSource & Sendable { Raw(self) }

    private final class Raw: ByteSource, @unchecked Sendable {
        private let owner: DecompressedSource

        init(_ owner: DecompressedSource) { self.owner = owner }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try owner.copy(into: buffer) }
    }

    private func copy(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        if pending.isEmpty { return try doing("read \(label)") { try source.read(into: output) } }
        let count = min(pending.count, output.count)
        output.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[pending.prefix(count)]))
        pending = (pending.lowerBound + count)..<pending.upperBound
        return count
    }

    private func refill() throws {
        let count = try doing("read \(label)") { try source.read(into: buffer) }
        pending = 0..<count
    }

    private func checkExpansion() throws {
        if produced > limits.tarSize {
            throw StorageError(
                .invalid,
                "read \(label): it is larger than \(limits.tarSize) bytes uncompressed"
            )
        }
        if produced > limits.freeExpansion, produced / max(consumed, 1) > limits.expansion {
            throw StorageError(
                .invalid,
                "read \(label): it expands more than \(limits.expansion) times beyond \(limits.freeExpansion) bytes"
            )
        }
    }
}
