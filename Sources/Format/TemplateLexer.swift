// SPDX-License-Identifier: Apache-2.0

/// Cuts a template into texts and actions, and actions into tokens.
struct TemplateLexer {
    enum Piece {
        case text(String)
        case action([Token])
    }

    private let source: [Unicode.Scalar]
    private var position = 0
    private var line = 1
    private var lineStart = 0

    init(_ template: String) { source = Array(template.unicodeScalars) }

    mutating func pieces() throws(TemplateError) -> [Piece] {
        var pieces: [Piece] = []
        var trimNext = false
        while position < source.count {
            let start = position
            while position < source.count, !looking(at: "{{") { advance() }
            var text = source[start..<position]
            if trimNext { text = text.drop(while: Self.isSpace) }
            trimNext = false
            guard position < source.count else {
                pieces.append(.text(Self.unescaped(text)))
                break
            }
            position += 2
            if looking(at: "-"), position + 1 < source.count, Self.isSpace(source[position + 1]) {
                position += 1
                while let last = text.last, Self.isSpace(last) { text.removeLast() }
            }
            if !text.isEmpty { pieces.append(.text(Self.unescaped(text))) }
            if try comment(&trimNext) { continue }
            pieces.append(.action(try tokens(&trimNext)))
        }
        return pieces
    }

    /// Steps over `/* … */}}`, if that comes next.
    private mutating func comment(_ trimNext: inout Bool) throws(TemplateError) -> Bool {
        let start = position
        skipSpace()
        guard looking(at: "/*") else {
            position = start
            return false
        }
        while position < source.count, !looking(at: "*/") { advance() }
        guard position < source.count else { throw error("unclosed comment") }
        position += 2
        guard end(&trimNext) else { throw error("comment ends before closing delimiter") }
        return true
    }

    private mutating func tokens(_ trimNext: inout Bool) throws(TemplateError) -> [Token] {
        var tokens: [Token] = []
        while true {
            let before = position
            if end(&trimNext) { return tokens }
            skipSpace()
            guard position < source.count else { throw error("unclosed action") }
            let joined = before == position && !tokens.isEmpty
            let (start, startLine, column) = (position, line, position - lineStart)
            let kind = try token()
            let text = Self.text(source[start..<position])
            tokens.append(Token(kind: kind, joined: joined, line: startLine, column: column, text: text))
        }
    }

    /// Steps over `}}` or ` -}}`, if that comes next.
    private mutating func end(_ trimNext: inout Bool) -> Bool {
        let (start, startLine, startOfLine) = (position, line, lineStart)
        skipSpace()
        if looking(at: "}}") {
            position += 2
            return true
        }
        if position > start, looking(at: "-}}") {
            position += 3
            trimNext = true
            return true
        }
        (position, line, lineStart) = (start, startLine, startOfLine)
        return false
    }

    private mutating func token() throws(TemplateError) -> Token.Kind {
        let first = source[position]
        switch first {
        case "|": return single(.pipe)
        case ",": return single(.comma)
        case "(": return single(.open)
        case ")": return single(.close)
        case "=": return single(.assign)
        case ":":
            position += 1
            guard looking(at: "=") else { throw error("expected :=") }
            return single(.declare)
        case "\"": return .string(try quoted())
        case "`": return .string(try rawString())
        case "$":
            position += 1
            return .variable(name())
        case ".":
            position += 1
            guard position < source.count, Self.isLetter(source[position]) else { return .dot }
            return .field(name())
        case "-", "+", "0"..."9": return .number(try number())
        case _ where Self.isLetter(first): return .identifier(name())
        default: throw error("unexpected \"\(first)\" in command")
        }
    }

    private mutating func single(_ kind: Token.Kind) -> Token.Kind {
        position += 1
        return kind
    }

    private mutating func name() -> String {
        let start = position
        while position < source.count, Self.isLetter(source[position]) || "0"..."9" ~= source[position] {
            position += 1
        }
        return Self.text(source[start..<position])
    }

    private mutating func number() throws(TemplateError) -> String {
        let start = position
        position += 1
        while position < source.count, "0"..."9" ~= source[position] || source[position] == "." {
            position += 1
        }
        let text = Self.text(source[start..<position])
        guard Double(text) != nil, !text.hasPrefix("+"), !text.hasSuffix(".") else {
            throw error("bad number syntax: \"\(text)\"")
        }
        return text
    }

    private mutating func rawString() throws(TemplateError) -> String {
        position += 1
        let start = position
        while position < source.count, source[position] != "`" { advance() }
        guard position < source.count else { throw error("unterminated raw quoted string") }
        let text = Self.text(source[start..<position])
        position += 1
        return text
    }

    private mutating func quoted() throws(TemplateError) -> String {
        position += 1
        var text = ""
        while position < source.count, source[position] != "\"", source[position] != "\n" {
            var scalar = source[position]
            position += 1
            if scalar == "\\" {
                guard position < source.count else { break }
                switch source[position] {
                case "n": scalar = "\n"
                case "t": scalar = "\t"
                case "r": scalar = "\r"
                case "\\", "\"", "'": scalar = source[position]
                default: throw error("invalid syntax in quoted string")
                }
                position += 1
            }
            text.unicodeScalars.append(scalar)
        }
        guard position < source.count, source[position] == "\"" else {
            throw error("unterminated quoted string")
        }
        position += 1
        return text
    }
}

extension TemplateLexer {
    private func looking(at text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard position + count <= source.count else { return false }
        for offset in 0..<count where source[position + offset].value != UInt32(text.utf8Start[offset]) {
            return false
        }
        return true
    }

    private mutating func advance() {
        if source[position] == "\n" {
            line += 1
            lineStart = position + 1
        }
        position += 1
    }

    private mutating func skipSpace() {
        while position < source.count, Self.isSpace(source[position]) { advance() }
    }

    private func error(_ message: String) -> TemplateError { .parsing(line: line, message) }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r"
    }

    private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "_" || scalar.properties.isAlphabetic
    }

    private static func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        return text
    }

    /// Shells hand `\t` and `\n` on as they are typed; in a template's text they mean tab and newline.
    private static func unescaped(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var text = ""
        var rest = scalars
        while let scalar = rest.popFirst() {
            if scalar == "\\", let next = rest.first, next == "t" || next == "n" {
                rest.removeFirst()
                text += next == "t" ? "\t" : "\n"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
