// SPDX-License-Identifier: Apache-2.0

extension JSON {
    /// The document as bytes, compact or as `docker inspect` lays it out (four spaces, no newline at the end).
    package func bytes(pretty: Bool = false) -> [UInt8] {
        var writer = JSONWriter(pretty: pretty)
        writer.write(self)
        return writer.output
    }

    /// The compact document as text.
    package var text: String { String(decoding: bytes(), as: UTF8.self) }

    /// `text` as a JSON string with its quotes.
    package static func quoted(_ text: String) -> String { JSON.string(text).text }

    /// Adds the compact document to `output`.
    package func write(to output: inout [UInt8]) {
        var writer = JSONWriter(pretty: false)
        swap(&writer.output, &output)
        writer.write(self)
        swap(&writer.output, &output)
    }
}

struct JSONWriter {
    let pretty: Bool
    var output: [UInt8] = []
    private var depth = 0

    init(pretty: Bool) { self.pretty = pretty }

    mutating func write(_ value: JSON) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let number): output.append(contentsOf: number.text.utf8)
        case .string(let text): write(text)
        case .array(let elements): write(elements)
        case .object(let object): write(object)
        }
    }

    private mutating func write(_ elements: [JSON]) {
        output.append(UInt8(ascii: "["))
        depth += 1
        for (position, element) in elements.enumerated() {
            if position > 0 { output.append(UInt8(ascii: ",")) }
            newLine()
            write(element)
        }
        depth -= 1
        if !elements.isEmpty { newLine() }
        output.append(UInt8(ascii: "]"))
    }

    private mutating func write(_ object: JSONObject) {
        output.append(UInt8(ascii: "{"))
        depth += 1
        for (position, member) in object.enumerated() {
            if position > 0 { output.append(UInt8(ascii: ",")) }
            newLine()
            write(member.key)
            output.append(UInt8(ascii: ":"))
            if pretty { output.append(UInt8(ascii: " ")) }
            write(member.value)
        }
        depth -= 1
        if !object.isEmpty { newLine() }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func newLine() {
        guard pretty else { return }
        output.append(UInt8(ascii: "\n"))
        output.append(contentsOf: repeatElement(UInt8(ascii: " "), count: depth * 4))
    }

    private mutating func write(_ text: String) {
        var text = text
        output.append(UInt8(ascii: "\""))
        text.withUTF8 { buffer in
            var start = 0
            for position in 0..<buffer.count where buffer[position] < 0x20 || Self.isSpecial(buffer, position)
            {
                output.append(contentsOf: UnsafeBufferPointer(rebasing: buffer[start..<position]))
                start = position + escape(buffer, position)
            }
            output.append(contentsOf: UnsafeBufferPointer(rebasing: buffer[start...]))
        }
        output.append(UInt8(ascii: "\""))
    }

    /// A quote, a backslash, or U+2028 and U+2029, which break lines in JavaScript (Go escapes them, too).
    private static func isSpecial(_ buffer: UnsafeBufferPointer<UInt8>, _ position: Int) -> Bool {
        switch buffer[position] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): true
        case 0xe2:
            position + 2 < buffer.count && buffer[position + 1] == 0x80 && buffer[position + 2] & 0xfe == 0xa8
        default: false
        }
    }

    /// Writes the escape for what starts at `position`; returns how many bytes that was.
    private mutating func escape(_ buffer: UnsafeBufferPointer<UInt8>, _ position: Int) -> Int {
        let byte = buffer[position]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            output.append(UInt8(ascii: "\\"))
            output.append(byte)
        case 0x08: output.append(contentsOf: "\\b".utf8)
        case 0x09: output.append(contentsOf: "\\t".utf8)
        case 0x0a: output.append(contentsOf: "\\n".utf8)
        case 0x0c: output.append(contentsOf: "\\f".utf8)
        case 0x0d: output.append(contentsOf: "\\r".utf8)
        case 0xe2:
            output.append(contentsOf: buffer[position + 2] == 0xa8 ? "\\u2028".utf8 : "\\u2029".utf8)
            return 3
        default:
            output.append(contentsOf: (byte < 0x10 ? "\\u000" : "\\u00").utf8)
            output.append(contentsOf: String(byte, radix: 16).utf8)
        }
        return 1
    }
}
