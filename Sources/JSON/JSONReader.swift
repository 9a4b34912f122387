// SPDX-License-Identifier: Apache-2.0

extension JSON {
    /// Reads one document, exactly as RFC 8259 has it: UTF-8, no comments, no trailing commas, nothing after it.
    ///
    /// A name that occurs twice in an object is refused, since readers disagree on which one counts.
    /// Half a surrogate pair (`"\ud800"`) becomes U+FFFD, as in Go, so all tools read the same text.
    package static func parse(
        _ bytes: [UInt8],
        limits: JSONLimits = JSONLimits()
    ) throws(JSONError) -> JSON {
        try bytes.withUnsafeBufferPointer { (buffer) throws(JSONError) in try parse(buffer, limits: limits) }
    }

    package static func parse(
        _ bytes: UnsafeBufferPointer<UInt8>,
        limits: JSONLimits = JSONLimits()
    ) throws(JSONError) -> JSON {
        guard bytes.count <= limits.size else {
            throw JSONError(reason: .tooLarge(limit: limits.size), offset: limits.size)
        }
        var reader = JSONReader(bytes: bytes, depthLimit: limits.depth)
        return try reader.document()
    }

    package static func parse(
        _ text: String,
        limits: JSONLimits = JSONLimits()
    ) throws(JSONError) -> JSON {
        try parse(Array(text.utf8), limits: limits)
    }
}

/// A recursive descent over bytes; its depth is bounded by the limit.
struct JSONReader {
    let bytes: UnsafeBufferPointer<UInt8>
    let depthLimit: Int
    var position = 0
    private var depth = 0

    init(bytes: UnsafeBufferPointer<UInt8>, depthLimit: Int) {
        self.bytes = bytes
        self.depthLimit = depthLimit
    }

    mutating func document() throws(JSONError) -> JSON {
        skipSpace()
        let result = try value()
        skipSpace()
        guard position == bytes.count else { throw error(.trailingBytes) }
        return result
    }

    private mutating func value() throws(JSONError) -> JSON {
        switch try current() {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try word("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try word("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try word("null")
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        default: throw unexpected()
        }
    }

    private mutating func object() throws(JSONError) -> JSONObject {
        try enter()
        var result = JSONObject()
        skipSpace()
        if try take(UInt8(ascii: "}")) {
            depth -= 1
            return result
        }
        while true {
            guard try current() == UInt8(ascii: "\"") else { throw unexpected() }
            let start = position
            let key = try string()
            skipSpace()
            guard try take(UInt8(ascii: ":")) else { throw unexpected() }
            skipSpace()
            guard result.append(key, try value()) else {
                throw JSONError(reason: .duplicateKey(key), offset: start)
            }
            skipSpace()
            if try take(UInt8(ascii: "}")) { break }
            guard try take(UInt8(ascii: ",")) else { throw unexpected() }
            skipSpace()
        }
        depth -= 1
        return result
    }

    private mutating func array() throws(JSONError) -> [JSON] {
        try enter()
        var result: [JSON] = []
        skipSpace()
        if try take(UInt8(ascii: "]")) {
            depth -= 1
            return result
        }
        while true {
            result.append(try value())
            skipSpace()
            if try take(UInt8(ascii: "]")) { break }
            guard try take(UInt8(ascii: ",")) else { throw unexpected() }
            skipSpace()
        }
        depth -= 1
        return result
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        guard depth <= depthLimit else { throw error(.tooDeep(limit: depthLimit)) }
        position += 1
    }

    private mutating func word(_ expected: StaticString) throws(JSONError) {
        for offset in 0..<expected.utf8CodeUnitCount {
            guard try current() == expected.utf8Start[offset] else { throw unexpected() }
            position += 1
        }
    }

    /// Reads a minus, an integer without leading zeros, a fraction and an exponent, of which only the second must be.
    private mutating func number() throws(JSONError) -> JSONNumber {
        let start = position
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) {
            try digits()
        } else if let next = peek(), UInt8(ascii: "0")...UInt8(ascii: "9") ~= next {
            throw error(.invalidNumber)
        }
        if skip(UInt8(ascii: ".")) { try digits() }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            try digits()
        }
        return JSONNumber(checked: Self.text(ofASCII: UnsafeBufferPointer(rebasing: bytes[start..<position])))
    }

    private mutating func digits() throws(JSONError) {
        let start = position
        while let byte = peek(), UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { position += 1 }
        guard position > start else { throw error(peek() == nil ? .unexpectedEnd : .invalidNumber) }
    }
}

extension JSONReader {
    mutating func skipSpace() {
        while let byte = peek(), byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
            position += 1
        }
    }

    func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    func current() throws(JSONError) -> UInt8 {
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        return bytes[position]
    }

    /// Steps over `byte` if it comes next.
    mutating func skip(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        position += 1
        return true
    }

    /// As `skip`, where the document may not end.
    mutating func take(_ byte: UInt8) throws(JSONError) -> Bool {
        guard try current() == byte else { return false }
        position += 1
        return true
    }

    func error(_ reason: JSONError.Reason) -> JSONError { JSONError(reason: reason, offset: position) }

    func unexpected() -> JSONError {
        guard let byte = peek() else { return error(.unexpectedEnd) }
        return error(.unexpectedByte(byte))
    }
}
