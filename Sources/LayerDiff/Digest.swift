// SPDX-License-Identifier: Apache-2.0

import CCodecs

/// A SHA-256 digest as OCI writes it: `sha256:` and 64 hexadecimal digits.
package struct Digest: Hashable, Comparable, Sendable, CustomStringConvertible {
    private let words: [4 of UInt64]

    /// `nil` unless `text` is `sha256:` and 64 lower-case hexadecimal digits; so no digest can be a path.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 71, bytes.starts(with: "sha256:".utf8) else { return nil }
        var words: [4 of UInt64] = .init(repeating: 0)
        for index in 0..<64 {
            guard let digit = Self.value(bytes[index + 7]) else { return nil }
            words[index / 16] = words[index / 16] << 4 | digit
        }
        self.words = words
    }

    /// The digest given by its 64 hexadecimal digits alone, as docker-archive file names have it.
    package init?(hex: String) { self.init("sha256:" + hex) }

    fileprivate init(finishing bytes: [32 of UInt8]) {
        var words: [4 of UInt64] = .init(repeating: 0)
        for index in 0..<32 { words[index / 8] = words[index / 8] << 8 | UInt64(bytes[index]) }
        self.words = words
    }

    private static func value(_ digit: UInt8) -> UInt64? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(digit - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(digit - UInt8(ascii: "a") + 10)
        default: nil
        }
    }

    /// The 64 hexadecimal digits.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(unsafeUninitializedCapacity: 64) { buffer in
            for index in 0..<64 {
                buffer[index] = digits[Int(words[index / 16] >> UInt64(60 - 4 * (index % 16)) & 15)]
            }
            return 64
        }
    }

    package var description: String { "sha256:" + hex }

    package static func == (left: Digest, right: Digest) -> Bool {
        (0..<4).allSatisfy { left.words[$0] == right.words[$0] }
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words[0]) }

    package static func < (left: Digest, right: Digest) -> Bool {
        for index in 0..<4 where left.words[index] != right.words[index] {
            return left.words[index] < right.words[index]
        }
        return false
    }

    package static func sha256(of bytes: [UInt8]) -> Digest {
        // Loading libcrypto takes 1.7 ms, in which the portable code hashes 320 KiB.
        guard bytes.count <= 128 << 10 else {
            var hasher = SHA256Hasher()
            bytes.withUnsafeBytes { hasher.update($0) }
            return hasher.finish()
        }
        var result: [32 of UInt8] = .init(repeating: 0)
        result.withBytes { ccodecs_sha256_short(bytes, bytes.count, $0) }
        return Digest(finishing: result)
    }

    /// OCI's ChainID of a layer on `parent`, which is the ChainID of the layer below it.
    package static func chainID(parent: Digest?, diffID: Digest) -> Digest {
        guard let parent else { return diffID }
        return sha256(of: Array("\(parent) \(diffID)".utf8))
    }
}

/// SHA-256 of bytes that come in pieces.
///
/// For one thread at a time.
package struct SHA256Hasher: ~Copyable, @unchecked Sendable {
    private let state: OpaquePointer

    package init() { state = ccodecs_sha256_new() }

    deinit { ccodecs_sha256_free(state) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        ccodecs_sha256_update(state, bytes.baseAddress, bytes.count)
    }

    package consuming func finish() -> Digest {
        let state = state
        discard self
        var result: [32 of UInt8] = .init(repeating: 0)
        result.withBytes { ccodecs_sha256_finish(state, $0) }
        return Digest(finishing: result)
    }
}

extension InlineArray where Element == UInt8 {
    fileprivate mutating func withBytes(_ body: (UnsafeMutablePointer<UInt8>?) -> Void) {
        var span = mutableSpan
        span.withUnsafeMutableBufferPointer { body($0.baseAddress) }
    }
}
