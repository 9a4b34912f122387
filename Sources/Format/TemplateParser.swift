// SPDX-License-Identifier: Apache-2.0

import JSON

/// Makes nodes of a template's pieces.
struct TemplateParser {
    private var pieces: ArraySlice<TemplateLexer.Piece>
    private var tokens: ArraySlice<Token> = []
    private var line = 1
    /// The variables in sight, innermost last.
    private var variables = [""]
    private var loops = 0
    private var depth = 0

    private static let depthLimit = 100

    init(_ pieces: [TemplateLexer.Piece]) { self.pieces = pieces[...] }

    static func nodes(of template: String) throws(TemplateError) -> [Node] {
        var lexer = TemplateLexer(template)
        var parser = TemplateParser(try lexer.pieces())
        let (nodes, end) = try parser.block()
        if let end { throw .parsing(line: parser.line, "unexpected {{\(end)}}") }
        return nodes
    }

    /// Reads up to `end` or `else`, and says which; the tokens after it are left for the caller.
    private mutating func block() throws(TemplateError) -> (nodes: [Node], end: String?) {
        var nodes: [Node] = []
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.depthLimit else { throw error("nested too deeply") }
        while let piece = pieces.popFirst() {
            switch piece {
            case .text(let text):
                nodes.append(.text(text))
            case .action(let action):
                tokens = action[...]
                line = action.first?.line ?? line
                guard case .identifier(let word)? = tokens.first?.kind, Self.keywords.contains(word) else {
                    nodes.append(.action(try wholePipeline("command")))
                    continue
                }
                tokens.removeFirst()
                if word == "end" || word == "else" {
                    if word == "end", !tokens.isEmpty { throw unexpected("end") }
                    return (nodes, word)
                }
                nodes.append(try statement(word))
            }
        }
        return (nodes, nil)
    }

    private static let keywords = ["if", "with", "range", "end", "else", "break", "continue"]

    private mutating func statement(_ word: String) throws(TemplateError) -> Node {
        switch word {
        case "break", "continue":
            guard tokens.isEmpty else { throw unexpected(word) }
            guard loops > 0 else { throw error("{{\(word)}} outside {{range}}") }
            return .leave(word == "break" ? .break : .continue)
        case "range":
            let scope = variables.count
            let pipeline = try wholePipeline("range")
            loops += 1
            let (body, otherwise) = try bodies("range")
            loops -= 1
            variables.removeLast(variables.count - scope)
            return .range(pipeline, body: body, otherwise: otherwise)
        default:
            let scope = variables.count
            let pipeline = try wholePipeline(word)
            let (then, otherwise) = try bodies(word)
            variables.removeLast(variables.count - scope)
            return .branch(pipeline, setsDot: word == "with", then: then, otherwise: otherwise)
        }
    }

    /// Reads the body of a statement up to its `end`, and what stands behind `else`.
    private mutating func bodies(_ word: String) throws(TemplateError) -> (then: [Node], otherwise: [Node]) {
        let (then, end) = try scopedBlock()
        guard let end else { throw error("unexpected EOF") }
        if end == "end" { return (then, []) }
        if case .identifier(let next)? = tokens.first?.kind, next == word, word != "range" {
            tokens.removeFirst()
            depth += 1
            defer { depth -= 1 }
            guard depth < Self.depthLimit else { throw error("nested too deeply") }
            return (then, [try statement(word)])  // `else if` shares the `end`
        }
        guard tokens.isEmpty else { throw unexpected("else") }
        let (otherwise, last) = try scopedBlock()
        guard let last else { throw error("unexpected EOF") }
        guard last == "end" else { throw error("expected end; found {{else}}") }
        return (then, otherwise)
    }

    private mutating func scopedBlock() throws(TemplateError) -> (nodes: [Node], end: String?) {
        let scope = variables.count
        let result = try block()
        variables.removeLast(variables.count - scope)
        return result
    }
}

extension TemplateParser {
    /// Reads a pipeline that takes all tokens there are.
    private mutating func wholePipeline(_ context: String) throws(TemplateError) -> Pipeline {
        let result = try pipeline(context)
        guard tokens.isEmpty else { throw unexpected(context) }
        return result
    }

    private mutating func pipeline(_ context: String) throws(TemplateError) -> Pipeline {
        var result = Pipeline()
        try declarations(&result, context)
        repeat {
            let operands = try command(context)
            if operands.isEmpty { throw error("missing value for \(context)") }
            if !result.commands.isEmpty, operands.count == 1, case .literal = operands[0].value {
                throw error("non executable command in pipeline stage \(result.commands.count + 1)")
            }
            result.commands.append(operands)
        } while take(.pipe)
        if !result.assigns { variables += result.variables }
        return result
    }

    /// Reads `$x :=`, `$x =` or `$i, $x :=`, if one of them comes next.
    private mutating func declarations(_ result: inout Pipeline, _ context: String) throws(TemplateError) {
        guard case .variable(let first)? = tokens.first?.kind else { return }
        let start = tokens
        tokens.removeFirst()
        var names = [first]
        if context == "range", take(.comma), case .variable(let second)? = tokens.popFirst()?.kind {
            names.append(second)
        }
        if take(.declare) {
            result.variables = names
        } else if take(.assign) {
            for name in names where !variables.contains(name) {
                throw error("undefined variable \"$\(name)\"")
            }
            result.variables = names
            result.assigns = true
        } else {
            tokens = start
        }
    }

    private mutating func command(_ context: String) throws(TemplateError) -> [Operand] {
        var operands: [Operand] = []
        while let token = tokens.first, ![.pipe, .close].contains(token.kind) {
            tokens.removeFirst()
            operands.append(try operand(token, context))
        }
        return operands
    }

    private mutating func operand(_ token: Token, _ context: String) throws(TemplateError) -> Operand {
        var fields: [String] = []
        var text = token.text
        let value: Operand.Value
        switch token.kind {
        case .dot: value = .dot
        case .field(let name):
            value = .dot
            fields = [name]
        case .variable(let name):
            guard variables.contains(name) else { throw error("undefined variable \"$\(name)\"") }
            value = .variable(name)
        case .string(let string): value = .literal(.string(string))
        case .number(let number): value = .literal((try? JSON.parse(number)) ?? .null)
        case .identifier("true"): value = .literal(true)
        case .identifier("false"): value = .literal(false)
        case .identifier("nil"): value = .literal(nil)
        case .identifier(let name):
            guard TemplateFunctions.names.contains(name) else {
                throw error("function \"\(name)\" not defined")
            }
            value = .function(name)
        case .open:
            depth += 1
            defer { depth -= 1 }
            guard depth < Self.depthLimit else { throw error("nested too deeply") }
            value = .group(try pipeline(context))
            guard take(.close) else { throw error("unclosed left paren") }
            text = "(...)"
        default: throw error("unexpected \"\(token.text)\" in \(context)")
        }
        while let next = tokens.first, next.joined, case .field(let name) = next.kind {
            tokens.removeFirst()
            fields.append(name)
            text += next.text
        }
        return Operand(
            value: value,
            fields: fields,
            place: Place(line: token.line, column: token.column, text: text)
        )
    }

    private mutating func take(_ kind: Token.Kind) -> Bool {
        guard tokens.first?.kind == kind else { return false }
        tokens.removeFirst()
        return true
    }

    private func error(_ message: String) -> TemplateError { .parsing(line: line, message) }

    private func unexpected(_ context: String) -> TemplateError {
        error("unexpected \"\(tokens.first?.text ?? "}}")\" in \(context)")
    }
}
