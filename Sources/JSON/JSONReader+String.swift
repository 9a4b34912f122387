// SPDX-License-Identifier: Apache-2.0

extension JSONReader {
    /// Reads a string, the opening quote being next.
    mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        try skipPlain()
        if try current() == UInt8(ascii: "\"") {
            let text = try validated(bytes[start..<position], at: start)
            position += 1
            return text
        }
        var unescaped = Array(bytes[start..<position])
        while true {
            if try take(UInt8(ascii: "\"")) { break }
            position += 1  // the backslash
            try escape(into: &unescaped)
            let plain = position
            try skipPlain()
            unescaped.append(contentsOf: bytes[plain..<position])
        }
        return try unescaped.withUnsafeBufferPointer { (buffer) throws(JSONError) in
            try validated(buffer[...], at: start)
        }
    }

    /// Moves to the next quote or backslash.
    private mutating func skipPlain() throws(JSONError) {
        var next = position
        while next < bytes.count {
            let byte = bytes[next]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                position = next
                return
            }
            guard byte >= 0x20 else {
                position = next
                throw error(.controlCharacter)
            }
            next += 1
        }
        position = next
        throw error(.unexpectedEnd)
    }

    private func validated(
        _ slice: Slice<UnsafeBufferPointer<UInt8>>,
        at start: Int
    ) throws(JSONError) -> String {
        let bytes = UnsafeBufferPointer(rebasing: slice)
        var all: UInt8 = 0
        for byte in bytes { all |= byte }
        if all < 0x80 { return Self.text(ofASCII: bytes) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw JSONError(reason: .invalidUTF8, offset: start)
        }
        return text
    }

    /// Makes a string without the generic validation, which costs several times as much.
    static func text(ofASCII bytes: UnsafeBufferPointer<UInt8>) -> String {
        String(unsafeUninitializedCapacity: bytes.count) { $0.initialize(fromContentsOf: bytes) }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        let byte = try current()
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: Array(String(try unicodeEscape()).utf8))
        default:
            position -= 1
            throw error(.invalidEscape)
        }
    }

    /// Reads what follows `\u`, a second escape too if both are one surrogate pair.
    private mutating func unicodeEscape() throws(JSONError) -> Character {
        let first = try hexQuad()
        if let scalar = Unicode.Scalar(first) { return Character(scalar) }
        guard 0xd800..<0xdc00 ~= first, peek() == UInt8(ascii: "\\"), position + 1 < bytes.count,
            bytes[position + 1] == UInt8(ascii: "u")
        else { return "\u{fffd}" }
        let afterFirst = position
        position += 2
        let second = try hexQuad()
        guard 0xdc00..<0xe000 ~= second,
            let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
        else {
            position = afterFirst  // the second escape stands for itself
            return "\u{fffd}"
        }
        return Character(scalar)
    }

    private mutating func hexQuad() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = try current()
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw error(.invalidEscape)
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
