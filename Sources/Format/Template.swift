// SPDX-License-Identifier: Apache-2.0

package import JSON

/// A template in the language that Docker's `--format` takes (Go's `text/template`), over JSON values.
///
/// There are fields, variables, pipelines, `if`, `with`, `range`, comments and trimming; Go's functions on values that
/// are not code, and Docker's: `json`, `join`, `split`, `lower`, `upper`, `title`, `pad`, `truncate`. A name that a
/// value does not have is an error; `index` gives an empty string for it.
package struct Template: Sendable {
    private let nodes: [Node]

    package init(_ text: String) throws(TemplateError) { nodes = try TemplateParser.nodes(of: text) }

    package func render(_ value: JSON) throws(TemplateError) -> String {
        var evaluator = Evaluator(root: value, namesOnly: false)
        _ = try evaluator.run(nodes)
        return evaluator.output
    }

    /// The template over column headers: functions leave the headers as they are.
    func renderHeader(_ headers: JSON) throws(TemplateError) -> String {
        var evaluator = Evaluator(root: headers, namesOnly: true)
        _ = try evaluator.run(nodes)
        return evaluator.output
    }
}

/// Carries a template out.
struct Evaluator {
    private(set) var output = ""
    private var dot: JSON
    private var variables: [(name: String, value: JSON)]
    private let namesOnly: Bool

    init(root: JSON, namesOnly: Bool) {
        dot = root
        variables = [("", root)]
        self.namesOnly = namesOnly
    }

    mutating func run(_ nodes: [Node]) throws(TemplateError) -> LoopExit? {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        for node in nodes {
            switch node {
            case .text(let text): output += text
            case .action(let pipeline):
                let value = try evaluate(pipeline)
                if pipeline.variables.isEmpty { output += TemplateFunctions.text(value) }
            case .branch(let pipeline, let setsDot, let then, let otherwise):
                if let exit = try branch(pipeline, setsDot, then, otherwise) { return exit }
            case .range(let pipeline, let body, let otherwise):
                try range(pipeline, body, otherwise)
            case .leave(let exit): return exit
            }
        }
        return nil
    }

    private mutating func branch(
        _ pipeline: Pipeline,
        _ setsDot: Bool,
        _ then: [Node],
        _ otherwise: [Node]
    ) throws(TemplateError) -> LoopExit? {
        let scope = variables.count
        let outerDot = dot
        defer {
            variables.removeLast(variables.count - scope)
            dot = outerDot
        }
        let value = try evaluate(pipeline)
        guard TemplateFunctions.isTrue(value) else { return try run(otherwise) }
        if setsDot { dot = value }
        return try run(then)
    }

    private mutating func range(
        _ pipeline: Pipeline,
        _ body: [Node],
        _ otherwise: [Node]
    ) throws(TemplateError) {
        let scope = variables.count
        let outerDot = dot
        defer {
            variables.removeLast(variables.count - scope)
            dot = outerDot
        }
        var plain = pipeline
        plain.variables = []
        let value = try evaluate(plain)
        let elements: [(JSON, JSON)]
        switch value {
        case .null: elements = []
        case .array(let array): elements = array.enumerated().map { (.integer($0), $1) }
        case .object(let object): elements = object.byName.map { (.string($0.key), $0.value) }
        case .number(let number) where number.int != nil:
            elements = (0..<max(0, min(number.int ?? 0, 1_000_000))).map { (.integer($0), .integer($0)) }
        default:
            throw .executing(place(of: pipeline), "range can't iterate over \(TemplateFunctions.text(value))")
        }
        if elements.isEmpty { _ = try run(otherwise) }
        for (key, element) in elements {
            dot = element
            bind(pipeline, pipeline.variables.count == 2 ? [key, element] : [element])
            let exit = try run(body)
            if !pipeline.assigns { variables.removeLast(variables.count - scope) }
            if case .break = exit { break }
        }
    }

    private mutating func bind(_ pipeline: Pipeline, _ values: [JSON]) {
        for (name, value) in zip(pipeline.variables, values) {
            if pipeline.assigns, let index = variables.lastIndex(where: { $0.name == name }) {
                variables[index].value = value
            } else {
                variables.append((name, value))
            }
        }
    }

    private mutating func evaluate(_ pipeline: Pipeline) throws(TemplateError) -> JSON {
        var value: JSON?
        for command in pipeline.commands { value = try evaluate(command, piped: value) }
        let result = value ?? .null
        bind(pipeline, [result])
        return result
    }

    private mutating func evaluate(_ command: [Operand], piped: JSON?) throws(TemplateError) -> JSON {
        guard let first = command.first else { return .null }
        guard case .function(let name) = first.value else {
            guard command.count == 1, piped == nil else {
                throw .executing(first.place, "can't give argument to non-function \(first.place.text)")
            }
            return try evaluate(first)
        }
        if name == "and" || name == "or" {
            return try shortCircuit(command, piped, stopsAt: name == "or")
        }
        var arguments: [JSON] = []
        for operand in command.dropFirst() { arguments.append(try evaluate(operand)) }
        if let piped { arguments.append(piped) }
        do {
            let functions = TemplateFunctions(namesOnly: namesOnly)
            return try members(first.fields, of: functions.call(name, arguments), first.place)
        } catch let problem as FunctionProblem {
            throw .executing(first.place, "error calling \(name): \(problem.message)")
        } catch let error as TemplateError {
            throw error
        } catch {
            throw .executing(first.place, "\(error)")
        }
    }

    /// Evaluates `and` and `or`, which stop at the first argument that decides.
    private mutating func shortCircuit(
        _ command: [Operand],
        _ piped: JSON?,
        stopsAt decisive: Bool
    ) throws(TemplateError) -> JSON {
        var value: JSON?
        for operand in command.dropFirst() {
            let next = try evaluate(operand)
            if TemplateFunctions.isTrue(next) == decisive { return next }
            value = next
        }
        guard let result = piped ?? value else {
            throw .executing(
                command[0].place,
                "wrong number of args for \(command[0].place.text): want at least 1 got 0"
            )
        }
        return result
    }

    private mutating func evaluate(_ operand: Operand) throws(TemplateError) -> JSON {
        let value: JSON
        switch operand.value {
        case .dot: value = dot
        case .variable(let name): value = variables.last { $0.name == name }?.value ?? .null
        case .literal(let literal): value = literal
        case .group(let pipeline): value = try evaluate(pipeline)
        case .function: return try evaluate([operand], piped: nil)
        }
        return try members(operand.fields, of: value, operand.place)
    }

    private func members(_ names: [String], of value: JSON, _ place: Place) throws(TemplateError) -> JSON {
        var value = value
        for name in names {
            switch value {
            case .object(let object):
                guard let member = object[name] else {
                    throw .executing(place, "map has no entry for key \"\(name)\"")
                }
                value = member
            case .null: throw .executing(place, "nil pointer evaluating interface {}.\(name)")
            default: throw .executing(place, "can't evaluate field \(name) in type \(value.typeName)")
            }
        }
        return value
    }

    private func place(of pipeline: Pipeline) -> Place {
        pipeline.commands.first?.first?.place ?? Place(line: 1, column: 0, text: "")
    }
}

extension JSONObject {
    /// The members in the order of their names, as Go walks maps.
    var byName: [Member] {
        sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }
}
