// SPDX-License-Identifier: Apache-2.0

/// A verb of a program: what it looks like and what it does.
package protocol Verb: SendableMetatype {
    static var declaration: VerbDeclaration { get }

    /// Does it.
    ///
    /// - Returns: the exit status.
    static func run(_ parsed: Parsed) throws -> Int32
}

/// A row of a program's table of verbs.
package struct VerbEntry: Sendable {
    /// The words that call it: `run`, `layer mount`.
    package let name: String
    /// Other words that call it: `container run`.
    package let aliases: [String]
    package let verb: any Verb.Type

    package init(_ name: String, aliases: [String] = [], _ verb: any Verb.Type) {
        self.name = name
        self.aliases = aliases
        self.verb = verb
    }

    var declaration: VerbDeclaration { verb.declaration }

    func answers(to name: String) -> Bool { self.name == name || aliases.contains(name) }
}

/// How many words a verb takes behind its flags.
package enum ArgumentCount: Sendable {
    case none
    case exactly(Int)
    case atLeast(Int)
    case atMost(Int)
    case between(Int, Int)
    case any
}

/// All that help, parser, completions and manual say of a verb.
package struct VerbDeclaration: Sendable {
    /// Where the program's help lists it.
    package enum Section: Sendable {
        case common
        case other
        case hidden
    }

    package struct Example: Sendable {
        package let command: String
        package let explanation: String

        package init(_ command: String, _ explanation: String) {
            self.command = command
            self.explanation = explanation
        }
    }

    package let summary: String
    /// Paragraphs that help and manual show below the summary.
    package let description: String?
    /// What follows name and options, one form a line: `IMAGE [COMMAND] [ARG...]`.
    package let usage: [String]
    package let arguments: ArgumentCount
    package let flags: [Flag]
    package let examples: [Example]
    package let section: Section
    /// Whether flags may follow the first argument; not so where the rest is a container's command.
    package let interspersed: Bool
    /// What the shell offers for each argument, the last for all that follow.
    package let completes: [Completion]
    /// The exit status when the verb fails before a container's own status counts.
    package let failureStatus: Int32

    package init(
        _ summary: String,
        description: String? = nil,
        usage: [String] = [""],
        arguments: ArgumentCount = .none,
        flags: [Flag] = [],
        examples: [Example] = [],
        section: Section = .other,
        interspersed: Bool = true,
        completes: [Completion] = [],
        failureStatus: Int32 = 1
    ) {
        self.summary = summary
        self.description = description
        self.usage = usage
        self.arguments = arguments
        self.flags = flags
        self.examples = examples
        self.section = section
        self.interspersed = interspersed
        self.completes = completes
        self.failureStatus = failureStatus
    }
}
