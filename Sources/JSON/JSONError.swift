// SPDX-License-Identifier: Apache-2.0

/// Bytes that are not one JSON document within the limits: why, and at which byte.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case tooLarge(limit: Int)
        case tooDeep(limit: Int)
        case duplicateKey(String)
        case unexpectedEnd
        case unexpectedByte(UInt8)
        case trailingBytes
        case invalidNumber
        case invalidEscape
        case controlCharacter
        case invalidUTF8
    }

    package let reason: Reason
    /// Where it was noticed, counted from 0.
    package let offset: Int

    package init(reason: Reason, offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String { "invalid JSON at byte \(offset): \(explanation)" }

    private var explanation: String {
        switch reason {
        case .tooLarge(let limit): "larger than \(limit) bytes"
        case .tooDeep(let limit): "nested deeper than \(limit) levels"
        case .duplicateKey(let key): "key \(String(JSON.string(key).text.prefix(80))) occurs twice"
        case .unexpectedEnd: "unexpected end"
        case .unexpectedByte(let byte): "unexpected \(Self.name(byte))"
        case .trailingBytes: "something follows the value"
        case .invalidNumber: "malformed number"
        case .invalidEscape: "malformed escape in a string"
        case .controlCharacter: "unescaped control character in a string"
        case .invalidUTF8: "string is not UTF-8"
        }
    }

    private static func name(_ byte: UInt8) -> String {
        0x21...0x7e ~= byte ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
    }
}

/// What a document may cost its reader.
package struct JSONLimits: Sendable {
    /// Bytes of the whole document.
    package var size: Int
    /// Arrays and objects within each other.
    package var depth: Int

    package init(size: Int = 16 << 20, depth: Int = 128) {
        self.size = size
        self.depth = depth
    }
}
