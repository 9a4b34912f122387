// SPDX-License-Identifier: Apache-2.0

import CCodecs
import Storage

/// How the bytes of a layer or archive are packed.
package enum Compression: String, Sendable, CaseIterable {
    case none
    case gzip
    case zstd
    case xz
    case bzip2

    /// What the first bytes of a blob say; 6 of them are enough, and what is unknown is `none`.
    package init(magic bytes: UnsafeRawBufferPointer) {
        if bytes.starts(with: [0x1F, 0x8B]) {
            self = .gzip
        } else if bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) || Self.isSkippableFrame(bytes) {
            self = .zstd
        } else if bytes.starts(with: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) {
            self = .xz
        } else if bytes.starts(with: "BZh".utf8) {
            self = .bzip2
        } else {
            self = .none
        }
    }

    private static func isSkippableFrame(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4 && bytes[0] & 0xF0 == 0x50 && bytes[1...3].elementsEqual([0x2A, 0x4D, 0x18])
    }

    var format: (ccodecs_format, ccodecs_library)? {
        switch self {
        case .none: nil
        case .gzip: (CCODECS_GZIP, CCODECS_ISAL)
        case .zstd: (CCODECS_ZSTD_FRAMES, CCODECS_ZSTD)
        case .xz: (CCODECS_XZ, CCODECS_LZMA)
        case .bzip2: (CCODECS_BZIP2_STREAM, CCODECS_BZIP2)
        }
    }
}

/// The error for a library that could not be loaded, with the package that has it.
func libraryError(_ library: ccodecs_library, doing: String) -> StorageError {
    guard ccodecs_load(library) == -1 else { return StorageError(.system, "\(doing): out of memory") }
    return StorageError(
        .unsupported,
        "\(doing): \(String(cString: ccodecs_load_error(library)))",
        remedy: "install \(String(cString: ccodecs_package(library)))"
    )
}

/// Decodes any number of gzip members, zstd frames, or xz or bzip2 streams in a row.
///
/// For one thread at a time.
final class Decoder: @unchecked Sendable {
    private let state: OpaquePointer
    private let compression: Compression
    private let label: String
    /// Whether what was decoded last ended a member, so that the input may end here.
    private var isAtBoundary = false

    /// `compression` is not `none`.
    init(_ compression: Compression, window: UInt64, label: String) throws {
        guard let (format, library) = compression.format else {
            throw StorageError(.unsupported, "decompress \(label): it is not compressed")
        }
        guard let state = ccodecs_decoder_new(format, window) else {
            throw libraryError(library, doing: "decompress \(label) (\(compression.rawValue))")
        }
        self.state = state
        self.compression = compression
        self.label = label
    }

    deinit { ccodecs_decoder_free(state) }

    /// Decodes from `input` into `output`, which is not empty; says how many bytes of each were used.
    ///
    /// With an empty input it gives what it still holds.
    func decode(
        _ input: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        if isAtBoundary, compression != .zstd {
            // Tapes and some tools leave zeros behind a member.
            let padding = input.firstIndex { $0 != 0 } ?? input.count
            if padding > 0 { return (padding, 0) }
        }
        var buffers = ccodecs_buffers(
            in: input.baseAddress?.assumingMemoryBound(to: UInt8.self),
            in_left: input.count,
            out: output.baseAddress?.assumingMemoryBound(to: UInt8.self),
            out_left: output.count
        )
        let result = ccodecs_decode(state, &buffers)
        let (consumed, produced) = (input.count - buffers.in_left, output.count - buffers.out_left)
        if result == CCODECS_ERROR { throw corrupt(String(cString: ccodecs_decoder_error(state))) }
        if consumed == 0, produced == 0, !input.isEmpty { throw corrupt("the decoder makes no progress") }
        isAtBoundary = result == CCODECS_END || isAtBoundary && consumed == 0
        return (consumed, produced)
    }

    /// Throws unless the input may end here.
    func checkEnd() throws {
        if !isAtBoundary { throw corrupt("it is truncated") }
    }

    private func corrupt(_ reason: String) -> StorageError {
        let place = isAtBoundary ? "data after the end of the compressed data: " : ""
        return StorageError(.corrupt, "decompress \(label) (\(compression.rawValue)): \(place)\(reason)")
    }
}
