// SPDX-License-Identifier: Apache-2.0

import JSON
package import LinuxSys

/// One of the two outputs of a container.
package enum LogStream: UInt8, Hashable, Sendable {
    case stdout = 1
    case stderr = 2

    package var name: StaticString { self == .stdout ? "stdout" : "stderr" }
}

/// One line of a container's log, or a part of a long one.
///
/// On disk it is Docker's json-file format, byte for byte: `{"log":"…\n","stream":"stdout","time":"…Z"}`. A record
/// without a line end at the end of `bytes` goes on in the next record of its stream.
package struct LogRecord: Hashable, Sendable {
    package var stream: LogStream
    package var time: Timestamp
    package var bytes: [UInt8]

    package init(_ stream: LogStream, _ time: Timestamp, _ bytes: [UInt8]) {
        self.stream = stream
        self.time = time
        self.bytes = bytes
    }

    /// Reads one line of a log file, without its line end; `nil` if it is not a record (a torn write).
    package init?(line: some Sequence<UInt8>) {
        guard let json = try? JSON.parse(Array(line), limits: JSONLimits(size: 1 << 20, depth: 4)),
            let text = json["log"]?.string, let name = json["stream"]?.string,
            let time = json["time"]?.string.flatMap(Timestamp.init(rfc3339:))
        else { return nil }
        self.init(name == "stderr" ? .stderr : .stdout, time, Array(text.utf8))
    }
}

/// Writes records as Docker does, without making one.
enum LogEncoder {
    /// Appends the record of `line` and, with `ended`, of the line end that followed it.
    static func append(
        _ line: UnsafeRawBufferPointer,
        ended: Bool,
        stream: LogStream,
        time: [UInt8],
        to output: inout [UInt8]
    ) {
        output.append(literal: #"{"log":""#)
        escape(line, into: &output)
        if ended { output.append(literal: #"\n"#) }
        output.append(literal: #"","stream":""#)
        output.append(literal: stream.name)
        output.append(literal: #"","time":""#)
        output.append(contentsOf: time)
        output.append(literal: "\"}\n")
    }

    /// JSON's escapes and those that Docker adds for HTML; each byte that is not UTF-8 becomes `\ufffd`.
    private static func escape(_ bytes: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        var plain = 0  // the first byte not yet copied
        var index = 0
        while index < bytes.count {
            let length: Int
            let replacement: StaticString?
            if bytes[index] < 0x80 {
                length = 1
                replacement = asciiEscapes[Int(bytes[index])]
            } else {
                length = sequenceLength(bytes, at: index)
                replacement = length == 0 ? #"\ufffd"# : separator(bytes, at: index, length: length)
            }
            if let replacement {
                output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[plain..<index]))
                output.append(literal: replacement)
                index += max(1, length)
                plain = index
            } else {
                index += length
            }
        }
        output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[plain...]))
    }

    private static let asciiEscapes: [StaticString?] = {
        let controls: [StaticString] = [
            #"\u0000"#, #"\u0001"#, #"\u0002"#, #"\u0003"#, #"\u0004"#, #"\u0005"#, #"\u0006"#, #"\u0007"#,
            #"\u0008"#, #"\u0009"#, #"\n"#, #"\u000b"#, #"\u000c"#, #"\r"#, #"\u000e"#, #"\u000f"#,
            #"\u0010"#, #"\u0011"#, #"\u0012"#, #"\u0013"#, #"\u0014"#, #"\u0015"#, #"\u0016"#, #"\u0017"#,
            #"\u0018"#, #"\u0019"#, #"\u001a"#, #"\u001b"#, #"\u001c"#, #"\u001d"#, #"\u001e"#, #"\u001f"#,
        ]
        var table: [StaticString?] = controls + Array(repeating: nil, count: 96)
        table[Int(UInt8(ascii: "\""))] = #"\""#
        table[Int(UInt8(ascii: "\\"))] = #"\\"#
        table[Int(UInt8(ascii: "<"))] = #"\u003c"#
        table[Int(UInt8(ascii: ">"))] = #"\u003e"#
        table[Int(UInt8(ascii: "&"))] = #"\u0026"#
        return table
    }()

    /// U+2028 and U+2029 end a line in JavaScript.
    private static func separator(
        _ bytes: UnsafeRawBufferPointer,
        at index: Int,
        length: Int
    ) -> StaticString? {
        guard length == 3, bytes[index] == 0xE2, bytes[index + 1] == 0x80 else { return nil }
        return bytes[index + 2] == 0xA8 ? #"\u2028"# : bytes[index + 2] == 0xA9 ? #"\u2029"# : nil
    }

    /// The length of the well-formed UTF-8 sequence at `index`, whose first byte is above 0x7F; 0 if there is none.
    private static func sequenceLength(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int {
        let first = bytes[index]
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        guard (0xC2...0xF4).contains(first), index + length <= bytes.count else { return 0 }
        let second: ClosedRange<UInt8> =
            switch first {
            case 0xE0: 0xA0...0xBF
            case 0xED: 0x80...0x9F
            case 0xF0: 0x90...0xBF
            case 0xF4: 0x80...0x8F
            default: 0x80...0xBF
            }
        guard second.contains(bytes[index + 1]) else { return 0 }
        for offset in 2..<max(2, length) where bytes[index + offset] & 0xC0 != 0x80 { return 0 }
        return length
    }
}

extension [UInt8] {
    mutating func append(literal text: StaticString) {
        text.withUTF8Buffer { append(contentsOf: $0) }
    }
}
