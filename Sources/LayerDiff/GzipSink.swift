// SPDX-License-Identifier: Apache-2.0

import CCodecs
import Storage

/// Compresses what is written to it, as one gzip member without name and time.
///
/// The same bytes in give the same bytes out with one version of ISA-L on one kind of processor; nothing may depend on
/// more than that.
package final class GzipSink: ByteSink {
    private let next: any ByteSink
    private let state: OpaquePointer
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 64)

    package init(_ next: any ByteSink) throws {
        guard let state = ccodecs_encoder_new() else {
            throw libraryError(CCODECS_ISAL, doing: "compress with gzip")
        }
        self.state = state
        self.next = next
    }

    deinit {
        ccodecs_encoder_free(state)
        output.deallocate()
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        if !bytes.isEmpty { try encode(bytes, finish: false) }
    }

    /// Writes the end of the member; the next sink is not flushed.
    ///
    /// Nothing may be written after.
    package func finish() throws { try encode(UnsafeRawBufferPointer(start: nil, count: 0), finish: true) }

    private func encode(_ bytes: UnsafeRawBufferPointer, finish: Bool) throws {
        var rest = bytes
        while true {
            var buffers = ccodecs_buffers(
                in: rest.baseAddress?.assumingMemoryBound(to: UInt8.self),
                in_left: rest.count,
                out: output.baseAddress?.assumingMemoryBound(to: UInt8.self),
                out_left: output.count
            )
            let result = ccodecs_encode(state, &buffers, finish ? 1 : 0)
            if result == CCODECS_ERROR {
                throw StorageError(.system, "compress with gzip: the encoder failed")
            }
            let produced = output.count - buffers.out_left
            if produced > 0 { try next.write(UnsafeRawBufferPointer(rebasing: output[..<produced])) }
            rest = UnsafeRawBufferPointer(rebasing: rest[(rest.count - buffers.in_left)...])
            if result == CCODECS_END || !finish && rest.isEmpty && buffers.out_left > 0 { return }
        }
    }
}
