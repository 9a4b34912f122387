// SPDX-License-Identifier: Apache-2.0

import JSON

/// A part of a template.
indirect enum Node: Sendable {
    case text(String)
    case action(Pipeline)
    /// `if` and `with`, whose body sees the value as dot.
    case branch(Pipeline, setsDot: Bool, then: [Node], otherwise: [Node])
    case range(Pipeline, body: [Node], otherwise: [Node])
    case leave(LoopExit)
}

/// How a `range` is left early.
enum LoopExit: Sendable {
    case `break`
    case `continue`
}

/// Commands whose result is the last argument of the next one, perhaps kept in variables.
struct Pipeline: Sendable {
    var variables: [String] = []
    /// `=` sets a variable that is there already, `:=` makes one.
    var assigns = false
    var commands: [[Operand]] = []
}

struct Operand: Sendable {
    indirect enum Value: Sendable {
        case dot
        case variable(String)
        case literal(JSON)
        case function(String)
        case group(Pipeline)
    }

    let value: Value
    /// Members looked up in the value, one in the other.
    let fields: [String]
    let place: Place
}

/// A lexical element between `{{` and `}}`.
struct Token: Sendable {
    enum Kind: Equatable, Sendable {
        case dot
        /// `.Name`
        case field(String)
        /// `$` or `$name`
        case variable(String)
        case identifier(String)
        case string(String)
        case number(String)
        case pipe
        case comma
        case assign
        case declare
        case open
        case close
    }

    let kind: Kind
    /// Whether no space stands before it.
    let joined: Bool
    let line: Int
    let column: Int
    let text: String
}
