// SPDX-License-Identifier: Apache-2.0

import JSON
import Testing

@Suite("JSON reader")
struct JSONReaderTests {
    @Test(
        "values of every type",
        arguments: [
            ("null", JSON.null), (" true ", true), ("false\n", false), ("[]", []), ("{}", [:]),
            ("\"\"", ""), ("[1,[2],{\"a\":null}]", [1, [2], ["a": nil]]),
            (#""a\"\\\/\b\f\n\r\té😀""#, "a\"\\/\u{8}\u{c}\n\r\té😀"),
        ] as [(String, JSON)]
    )
    func values(text: String, expected: JSON) throws {
        #expect(try JSON.parse(text) == expected)
    }

    @Test("accessors answer nil for another type")
    func accessors() throws {
        let json = try JSON.parse(#"{"s":"x","n":7,"b":true,"a":["p","q"],"o":{"k":1.5}}"#)
        #expect(json["s"]?.string == "x" && json["s"]?.int == nil)
        #expect(json["n"]?.int == 7 && json["n"]?.uint32 == 7 && json["n"]?.string == nil)
        #expect(json["b"]?.bool == true)
        #expect(json["a"]?.strings == ["p", "q"] && json["a"]?[1]?.string == "q" && json["a"]?[2] == nil)
        #expect(json["o"]?["k"]?.double == 1.5 && json["o"]?["k"]?.int == nil)
        #expect(json["none"] == nil && JSON.null["x"] == nil)
        #expect(json.object?.keys == ["s", "n", "b", "a", "o"])
    }

    @Test(
        "numbers are kept exactly",
        arguments: [
            "0", "-1", "18446744073709551616", "0.1000000000000000000001", "1e400", "-1.5E+10", "12e-3",
        ]
    )
    func numbers(text: String) throws {
        let json = try JSON.parse(text)
        #expect(json.number?.text == text)
        #expect(json.bytes() == Array(text.utf8))
    }

    @Test("integers that do not fit are nil, never a trap")
    func integerRange() throws {
        #expect(try JSON.parse("9223372036854775807").int == Int.max)
        #expect(try JSON.parse("9223372036854775808").int == nil)
        #expect(try JSON.parse("18446744073709551615").uint64 == UInt64.max)
        #expect(try JSON.parse("-1").uint64 == nil)
        #expect(try JSON.parse("1e400").double == nil)
        #expect(try JSON.parse("1e2").int == nil)
    }

    @Test(
        "malformed text is refused with its place",
        arguments: [
            ("", JSONError.Reason.unexpectedEnd, 0), ("  ", .unexpectedEnd, 2), ("{", .unexpectedEnd, 1),
            ("[1,]", .unexpectedByte(UInt8(ascii: "]")), 3), ("[1 2]", .unexpectedByte(UInt8(ascii: "2")), 3),
            ("{\"a\":1,}", .unexpectedByte(UInt8(ascii: "}")), 7),
            ("{a:1}", .unexpectedByte(UInt8(ascii: "a")), 1),
            ("{\"a\" 1}", .unexpectedByte(UInt8(ascii: "1")), 5),
            ("'x'", .unexpectedByte(UInt8(ascii: "'")), 0),
            ("1 2", .trailingBytes, 2), ("null,", .trailingBytes, 4), ("nul", .unexpectedEnd, 3),
            ("nulx", .unexpectedByte(UInt8(ascii: "x")), 3), ("01", .invalidNumber, 1),
            ("-", .unexpectedEnd, 1),
            ("1.", .unexpectedEnd, 2), ("1.x", .invalidNumber, 2), ("1e", .unexpectedEnd, 2),
            (".5", .unexpectedByte(UInt8(ascii: ".")), 0), ("+1", .unexpectedByte(UInt8(ascii: "+")), 0),
            ("NaN", .unexpectedByte(UInt8(ascii: "N")), 0), ("\"", .unexpectedEnd, 1),
            ("\"\\", .unexpectedEnd, 2),
            ("\"\\x\"", .invalidEscape, 2), ("\"\\u12g4\"", .invalidEscape, 5),
            ("\"\\u12", .unexpectedEnd, 5),
            ("\"a\nb\"", .controlCharacter, 2), ("// c\n1", .unexpectedByte(UInt8(ascii: "/")), 0),
            ("\u{feff}1", .unexpectedByte(0xef), 0), ("0x10", .trailingBytes, 1),
        ] as [(String, JSONError.Reason, Int)]
    )
    func malformed(text: String, reason: JSONError.Reason, offset: Int) {
        #expect(throws: JSONError(reason: reason, offset: offset)) { try JSON.parse(text) }
    }

    @Test(
        "bytes that are not UTF-8 are refused",
        arguments: [
            [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80],
        ] as [[UInt8]]
    )
    func invalidUTF8(bytes: [UInt8]) {
        let quote = [UInt8(ascii: "\"")]
        #expect(throws: JSONError(reason: .invalidUTF8, offset: 1)) { try JSON.parse(quote + bytes + quote) }
        let escaped = quote + Array("\\n".utf8) + bytes + quote
        #expect(throws: JSONError(reason: .invalidUTF8, offset: 1)) { try JSON.parse(escaped) }
    }

    @Test(
        "half a surrogate pair becomes U+FFFD",
        arguments: [
            (#""\ud83d\ude00""#, "😀"), (#""\ud83d""#, "\u{fffd}"), (#""\ude00x""#, "\u{fffd}x"),
            (#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"), (#""\ud83d\n""#, "\u{fffd}\n"),
            (#""\ud83dA""#, "\u{fffd}A"),
            (#""\u0000""#, "\u{0}"),
        ] as [(String, String)]
    )
    func surrogates(text: String, expected: String) throws {
        #expect(try JSON.parse(text).string == expected)
    }

    @Test("a key that occurs twice is refused, in small and large objects, however it is escaped")
    func duplicateKeys() {
        #expect(throws: JSONError(reason: .duplicateKey("a"), offset: 7)) {
            try JSON.parse(#"{"a":1,"a":2}"#)
        }
        #expect(throws: JSONError(reason: .duplicateKey("a"), offset: 7)) {
            try JSON.parse(#"{"a":1,"\u0061":2}"#)
        }
        var members = (0..<100).map { "\"k\($0)\":0" }
        members.append("\"k57\":1")
        let text = "{" + members.joined(separator: ",") + "}"
        #expect { try JSON.parse(text) } throws: { ($0 as? JSONError)?.reason == .duplicateKey("k57") }
    }

    @Test("keys that differ only in Unicode form are two keys")
    func unicodeForms() throws {
        let json = try JSON.parse("{\"\u{e9}\":1,\"e\u{301}\":2}")
        #expect(json["\u{e9}"]?.int == 1)
        #expect(json["e\u{301}"]?.int == 2)
        #expect(JSON.string("\u{e9}") != JSON.string("e\u{301}"))
    }

    @Test("limits on size and depth")
    func limits() throws {
        let limits = JSONLimits(size: 10, depth: 3)
        #expect(try JSON.parse("[[[1]]]", limits: limits) == [[[1]]])
        #expect(throws: JSONError(reason: .tooDeep(limit: 3), offset: 3)) {
            try JSON.parse("[[[[1]]]]", limits: limits)
        }
        #expect(throws: JSONError(reason: .tooDeep(limit: 3), offset: 7)) {
            try JSON.parse("[[1],[[[2]]]]", limits: JSONLimits(depth: 3))
        }
        #expect(throws: JSONError(reason: .tooLarge(limit: 10), offset: 10)) {
            try JSON.parse("[1,2,3,4,5]", limits: limits)
        }
    }

    @Test("a million open brackets cost nothing")
    func deepNesting() {
        for open in ["[", "{\"a\":"] {
            let text = String(repeating: open, count: 1_000_000)
            #expect { try JSON.parse(text) } throws: { ($0 as? JSONError)?.reason == .tooDeep(limit: 128) }
        }
    }

    @Test("every truncation and every changed byte of a document gives a value or an error")
    func mutations() throws {
        let document = Array(#"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00é",true,null],"b":{"c":{}},"d":""}"#.utf8)
        _ = try JSON.parse(document)
        for count in 0..<document.count {
            #expect(throws: JSONError.self) { try JSON.parse(Array(document[..<count])) }
        }
        for position in document.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = document
                changed[position] = byte
                guard let json = try? JSON.parse(changed) else { continue }
                #expect(try JSON.parse(json.bytes()) == json)
            }
        }
    }
}

@Suite("JSON writer")
struct JSONWriterTests {
    @Test("compact and pretty")
    func layout() {
        let json: JSON = ["a": [1, true, nil], "e": [], "o": [:], "n": ["k": "v"]]
        #expect(json.text == #"{"a":[1,true,null],"e":[],"o":{},"n":{"k":"v"}}"#)
        let pretty = """
            {
                "a": [
                    1,
                    true,
                    null
                ],
                "e": [],
                "o": {},
                "n": {
                    "k": "v"
                }
            }
            """
        #expect(String(decoding: json.bytes(pretty: true), as: UTF8.self) == pretty)
    }

    @Test("strings are escaped as Go escapes them")
    func escapes() {
        let text = "\"\\/\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}é\u{2028}\u{2029}‧😀<"
        #expect(JSON.quoted(text) == #""\"\\/\b\t\n\f\r\u0000\u001f"# + "\u{7f}é" + #"\u2028\u2029‧😀<""#)
    }

    @Test("every scalar comes back")
    func roundTrip() throws {
        var text = ""
        for value in (0 as UInt32)..<0x3000 {
            if let scalar = Unicode.Scalar(value) { text.unicodeScalars.append(scalar) }
        }
        let json = JSON.string(text)
        #expect(try JSON.parse(json.bytes()) == json)
    }

    @Test("doubles")
    func doubles() {
        #expect(JSONNumber(2.0)?.text == "2")
        #expect(JSONNumber(0.1)?.text == "0.1")
        #expect(JSONNumber(1e300)?.double == 1e300)
        #expect(JSONNumber(.nan) == nil && JSONNumber(-.infinity) == nil)
    }
}

@Suite("JSON object")
struct JSONObjectTests {
    @Test("order is kept, equality does not ask for it")
    func order() {
        var large = JSONObject()
        for number in (0..<50).reversed() { large["k\(number)"] = .integer(number) }
        #expect(large.keys.first == "k49" && large.keys.last == "k0")
        var other = JSONObject()
        for number in 0..<50 { other["k\(number)"] = .integer(number) }
        #expect(large == other && large.hashValue == other.hashValue)
        other["k3"] = "changed"
        #expect(large != other)
    }

    @Test("members are replaced in place and removed")
    func editing() {
        var object: JSONObject = ["a": 1, "b": 2, "c": 3]
        object["b"] = "two"
        object["a"] = nil
        object["d"] = 4
        #expect(JSON.object(object).text == #"{"b":"two","c":3,"d":4}"#)
        for number in 0..<20 { object["k\(number)"] = .integer(number) }
        object["k4"] = nil
        #expect(object["k4"] == nil && object["k5"]?.int == 5 && object["k19"]?.int == 19)
        #expect(object.append("k5", 0) == false && object.append("k4", 0) == true)
    }
}
