// SPDX-License-Identifier: Apache-2.0

import JSON

extension TemplateFunctions {
    /// Go's `printf` with `%s %v %d %q %t %x %f`, width, precision and the flags `-` and `0`.
    func printf(_ arguments: [JSON]) throws -> String {
        guard let format = arguments.first?.string else {
            throw FunctionProblem(message: "expected a format string")
        }
        var result = ""
        var values = arguments.dropFirst()
        var rest = format[...]
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            var directive = Directive(&rest)
            if directive.verb == "%" {
                result += "%"
            } else if let value = values.popFirst() {
                result += directive.text(value)
            } else {
                result += "%!\(directive.verb)(MISSING)"
            }
        }
        if !values.isEmpty { result += "%!(EXTRA \(values.map(Self.text).joined(separator: ", ")))" }
        return result
    }
}

/// What stands between a percent sign and its letter.
private struct Directive {
    private var left = false
    private var zero = false
    private var width = 0
    private var precision: Int?
    private(set) var verb: Character

    init(_ rest: inout Substring) {
        while let flag = rest.first, "-0+ #".contains(flag) {
            if flag == "-" { left = true }
            if flag == "0" { zero = true }
            rest.removeFirst()
        }
        width = Self.number(&rest)
        if rest.first == "." {
            rest.removeFirst()
            precision = Self.number(&rest)
        }
        verb = rest.popFirst() ?? "%"
    }

    mutating func text(_ value: JSON) -> String {
        var text =
            switch (verb, value) {
            case ("s", _), ("v", _), ("d", .number), ("t", .bool): TemplateFunctions.text(value)
            case ("q", .string(let string)): quoted(string)
            case ("x", .number(let number)) where number.int != nil: String(number.int ?? 0, radix: 16)
            case ("f", .number(let number)): Decimals.fixed(number.double ?? 0, places: precision ?? 6)
            default: "%!\(verb)(\(value.typeName)=\(TemplateFunctions.text(value)))"
            }
        if verb == "s", let precision { text = String(text.prefix(precision)) }
        let missing = max(0, width - text.unicodeScalars.count)
        if left { return text + String(repeating: " ", count: missing) }
        return String(repeating: zero && verb != "s" ? "0" : " ", count: missing) + text
    }

    private static func number(_ rest: inout Substring) -> Int {
        var number = 0
        while let digit = rest.first, let value = digit.wholeNumberValue, digit.isASCII {
            number = min(number * 10 + value, 1000)
            rest.removeFirst()
        }
        return number
    }
}
