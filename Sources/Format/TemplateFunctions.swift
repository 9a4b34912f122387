// SPDX-License-Identifier: Apache-2.0

import JSON

/// Why a function cannot do what it is asked.
struct FunctionProblem: Error {
    let message: String
}

/// The functions of templates.
struct TemplateFunctions {
    static let names = [
        "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or",
        "pad", "print",
        "printf", "println", "slice", "split", "title", "truncate", "upper",
    ]

    /// For headers: functions that change text leave it alone.
    let namesOnly: Bool

    func call(_ name: String, _ arguments: [JSON]) throws -> JSON {
        if namesOnly, Self.textFunctions.contains(name) { return arguments.first { $0.string != nil } ?? "" }
        switch name {
        case "json": return .string(try one(arguments).text)
        case "len": return .integer(try length(try one(arguments)))
        case "not": return .bool(!Self.isTrue(try one(arguments)))
        case "lower": return .string(try string(try one(arguments)).lowercased())
        case "upper": return .string(try string(try one(arguments)).uppercased())
        case "title": return .string(title(try string(try one(arguments))))
        case "join": return try join(arguments)
        case "split": return try split(arguments)
        case "pad": return try pad(arguments)
        case "truncate": return try truncate(arguments)
        case "print": return .string(Self.print(arguments))
        case "println": return .string(arguments.map(Self.text).joined(separator: " ") + "\n")
        case "printf": return .string(try printf(arguments))
        case "index": return try index(arguments)
        case "slice": return try slice(arguments)
        default: return try compare(name, arguments)
        }
    }

    private static let textFunctions = [
        "join", "json", "lower", "pad", "split", "title", "truncate", "upper",
    ]

    /// Whether `if` takes the value for true.
    static func isTrue(_ value: JSON) -> Bool {
        switch value {
        case .null: false
        case .bool(let value): value
        case .number(let number): number.double != 0
        case .string(let text): !text.isEmpty
        case .array(let elements): !elements.isEmpty
        case .object(let object): !object.isEmpty
        }
    }

    /// The value as Go prints it.
    static func text(_ value: JSON) -> String { value.isNull ? "<no value>" : inner(value) }

    private static func inner(_ value: JSON) -> String {
        switch value {
        case .null: "<nil>"
        case .bool(let value): value ? "true" : "false"
        case .number(let number): number.text
        case .string(let text): text
        case .array(let elements): "[" + elements.map(inner).joined(separator: " ") + "]"
        case .object(let object):
            "map[" + object.byName.map { "\($0.key):\(inner($0.value))" }.joined(separator: " ") + "]"
        }
    }

    /// Like Go's `Sprint`: a space between two values of which neither is a string.
    private static func print(_ arguments: [JSON]) -> String {
        var result = ""
        for (position, argument) in arguments.enumerated() {
            if position > 0, arguments[position - 1].string == nil, argument.string == nil { result += " " }
            result += text(argument)
        }
        return result
    }
}

extension TemplateFunctions {
    private func one(_ arguments: [JSON]) throws -> JSON {
        try expect(arguments, 1)
        return arguments[0]
    }

    private func expect(_ arguments: [JSON], _ count: Int) throws {
        guard arguments.count == count else {
            throw FunctionProblem(message: "wrong number of args: want \(count) got \(arguments.count)")
        }
    }

    private func string(_ value: JSON) throws -> String {
        guard let text = value.string else {
            throw FunctionProblem(message: "expected string; found \(Self.text(value))")
        }
        return text
    }

    private func integer(_ value: JSON) throws -> Int {
        guard let number = value.int else {
            throw FunctionProblem(message: "expected integer; found \(Self.text(value))")
        }
        return number
    }

    private func length(_ value: JSON) throws -> Int {
        switch value {
        case .string(let text): text.utf8.count
        case .array(let elements): elements.count
        case .object(let object): object.count
        default: throw FunctionProblem(message: "len of type \(value.typeName)")
        }
    }

    private func title(_ text: String) -> String {
        var atStart = true
        return text.reduce(into: "") { result, character in
            result += atStart ? character.uppercased() : String(character)
            atStart = !character.isLetter && !character.isNumber && character != "_" && character != "'"
        }
    }

    private func join(_ arguments: [JSON]) throws -> JSON {
        try expect(arguments, 2)
        let separator = try string(arguments[1])
        if arguments[0].isNull { return "" }
        guard let elements = arguments[0].array else {
            throw FunctionProblem(message: "expected list; found \(Self.text(arguments[0]))")
        }
        return .string(elements.map(Self.inner).joined(separator: separator))
    }

    private func split(_ arguments: [JSON]) throws -> JSON {
        try expect(arguments, 2)
        return .strings(Self.pieces(of: try string(arguments[0]), between: try string(arguments[1])))
    }

    /// As Go's strings.Split: an empty separator lies between all characters.
    private static func pieces(of text: String, between separator: String) -> [String] {
        if separator.isEmpty { return text.unicodeScalars.map { String($0) } }
        let (bytes, mark) = (Array(text.utf8), Array(separator.utf8))
        var (pieces, start, place): ([String], Int, Int) = ([], 0, 0)
        while place + mark.count <= bytes.count {
            guard bytes[place..<place + mark.count].elementsEqual(mark) else {
                place += 1
                continue
            }
            pieces.append(String(decoding: bytes[start..<place], as: UTF8.self))
            place += mark.count
            start = place
        }
        return pieces + [String(decoding: bytes[start...], as: UTF8.self)]
    }

    /// Spaces before and after, unless the text is empty.
    private func pad(_ arguments: [JSON]) throws -> JSON {
        try expect(arguments, 3)
        let text = try string(arguments[0])
        let (before, after) = (try integer(arguments[1]), try integer(arguments[2]))
        guard 0...1000 ~= before, 0...1000 ~= after else {
            throw FunctionProblem(message: "padding out of range")
        }
        if text.isEmpty { return "" }
        return .string(String(repeating: " ", count: before) + text + String(repeating: " ", count: after))
    }

    private func truncate(_ arguments: [JSON]) throws -> JSON {
        try expect(arguments, 2)
        return .string(String(try string(arguments[0]).prefix(max(0, try integer(arguments[1])))))
    }

    private func index(_ arguments: [JSON]) throws -> JSON {
        guard var value = arguments.first else {
            throw FunctionProblem(message: "wrong number of args: want at least 1 got 0")
        }
        for key in arguments.dropFirst() {
            switch value {
            case .object(let object): value = object[try string(key)] ?? ""
            case .array(let elements):
                let position = try integer(key)
                guard elements.indices.contains(position) else {
                    throw FunctionProblem(message: "index out of range: \(position)")
                }
                value = elements[position]
            case .null: value = ""
            default: throw FunctionProblem(message: "can't index item of type \(value.typeName)")
            }
        }
        return value
    }

    private func slice(_ arguments: [JSON]) throws -> JSON {
        guard let value = arguments.first, arguments.count <= 3 else {
            throw FunctionProblem(message: "wrong number of args: want 1 to 3 got \(arguments.count)")
        }
        let count = try length(value)
        let start = arguments.count > 1 ? try integer(arguments[1]) : 0
        let end = arguments.count > 2 ? try integer(arguments[2]) : count
        guard 0 <= start, start <= end, end <= count else {
            throw FunctionProblem(message: "index out of range: \(start):\(end)")
        }
        switch value {
        case .string(let text): return .string(String(decoding: Array(text.utf8)[start..<end], as: UTF8.self))
        case .array(let elements): return .array(Array(elements[start..<end]))
        default: throw FunctionProblem(message: "can't slice item of type \(value.typeName)")
        }
    }

    private func compare(_ name: String, _ arguments: [JSON]) throws -> JSON {
        guard arguments.count == 2 || (name == "eq" && arguments.count > 2) else {
            throw FunctionProblem(message: "missing argument for comparison")
        }
        if name == "eq" || name == "ne" {
            var found = false
            for other in arguments.dropFirst() where try order(arguments[0], other) == 0 { found = true }
            return .bool(found == (name == "eq"))
        }
        guard let order = try order(arguments[0], arguments[1]) else {
            throw FunctionProblem(message: "invalid type for comparison")
        }
        return switch name {
        case "lt": .bool(order < 0)
        case "le": .bool(order <= 0)
        case "gt": .bool(order > 0)
        default: .bool(order >= 0)
        }
    }

    /// Less than, equal to or greater than 0; `nil` where the values differ but have no order.
    private func order(_ left: JSON, _ right: JSON) throws -> Int? {
        switch (left, right) {
        case (.number(let left), .number(let right)):
            if let left = left.int, let right = right.int { return left < right ? -1 : left == right ? 0 : 1 }
            guard let left = left.double, let right = right.double else { return nil }
            return left < right ? -1 : left == right ? 0 : 1
        case (.string(let left), .string(let right)):
            if left.utf8.elementsEqual(right.utf8) { return 0 }
            return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
        case (.bool, .bool), (.null, _), (_, .null): return left == right ? 0 : nil
        default: throw FunctionProblem(message: "incompatible types for comparison")
        }
    }
}
