// SPDX-License-Identifier: Apache-2.0

/// A program: its global flags and its table of verbs, from which all else follows.
package struct Program: Sendable {
    /// Verbs under one first word: `layer`.
    package struct Group: Sendable {
        package let name: String
        package let summary: String

        package init(_ name: String, _ summary: String) {
            self.name = name
            self.summary = summary
        }
    }

    package let name: String
    package let summary: String
    package let flags: [Flag]
    package let groups: [Group]
    package let verbs: [VerbEntry]

    package init(name: String, summary: String, flags: [Flag], groups: [Group], verbs: [VerbEntry]) {
        self.name = name
        self.summary = summary
        self.flags = flags
        self.groups = groups
        self.verbs = verbs
    }
}

/// What a command line asks for.
package enum Invocation: Sendable {
    case version
    /// Help on the program, a group or a verb, to be printed.
    case help(Topic)
    case run(VerbEntry, Parsed)
}

/// What help and manual can be about.
package enum Topic: Sendable {
    case program
    case group(Program.Group)
    case verb(VerbEntry)
}

extension Program {
    /// Understands a command line, the program's name left out.
    package func interpret(_ words: [Word]) throws(UsageError) -> Invocation {
        let scope = UsageError.Scope(command: name, usage: ["[OPTIONS] COMMAND"])
        var globals = FlagParser(flags: flags, interspersed: false, scope: scope)
        try globals.parse(words[...])
        if globals.helpWanted { return .help(.program) }
        let parsedGlobals = globals.parsed()
        if flags.contains(where: { $0.name == "version" }), parsedGlobals.flag("version") { return .version }
        guard let first = globals.positionals.first else { return .help(.program) }
        var path = first.text
        var rest = globals.positionals.dropFirst()
        if let group = groups.first(where: { $0.name == path && !members(of: $0).isEmpty }) {
            guard let word = rest.first, word.bytes.first != UInt8(ascii: "-") else {
                return try groupHelp(group, rest)
            }
            path += " " + word.text
            rest.removeFirst()
        }
        guard let entry = entry(named: path) else { throw unknown(path) }
        return try interpret(entry, path, rest, parsedGlobals)
    }

    private func interpret(
        _ entry: VerbEntry,
        _ path: String,
        _ words: ArraySlice<Word>,
        _ globals: Parsed
    ) throws(UsageError) -> Invocation {
        let declaration = entry.declaration
        let scope = UsageError.Scope(command: "\(name) \(path)", usage: declaration.usageWithOptions)
        var parser = FlagParser(
            flags: declaration.flags,
            interspersed: declaration.interspersed,
            scope: scope
        )
        try parser.parse(words)
        if parser.helpWanted { return .help(.verb(entry)) }
        if let objection = declaration.arguments.objection(to: parser.positionals.count) {
            throw UsageError("\(name): '\(name) \(path)' \(objection)", scope: scope, status: 1)
        }
        return .run(entry, parser.parsed(globals: globals.values, globalFlags: flags))
    }

    private func groupHelp(_ group: Group, _ rest: ArraySlice<Word>) throws(UsageError) -> Invocation {
        let scope = UsageError.Scope(command: "\(name) \(group.name)", usage: ["COMMAND"])
        var parser = FlagParser(flags: [], interspersed: false, scope: scope)
        try parser.parse(rest)
        return .help(.group(group))
    }

    /// What the words after `help` mean.
    package func topic(_ words: [String]) throws(UsageError) -> Topic {
        let path = words.joined(separator: " ")
        if words.isEmpty { return .program }
        if let group = groups.first(where: { $0.name == path }) { return .group(group) }
        guard let entry = entry(named: path) else { throw unknown(path) }
        return .verb(entry)
    }

    func entry(named path: String) -> VerbEntry? { verbs.first { $0.answers(to: path) } }

    private func unknown(_ path: String) -> UsageError {
        var message = "\(name): unknown command: \(name) \(path)"
        let near = suggestions(for: path)
        if !near.isEmpty {
            message += "\n\nDid you mean this?"
            for suggestion in near { message += "\n  \(name) \(suggestion)" }
        }
        var command = name
        if let space = path.firstIndex(of: " ") { command += " " + path[..<space] }
        return UsageError(message, scope: .init(command: command, usage: []), status: 1)
    }
}

extension VerbDeclaration {
    var usageWithOptions: [String] {
        usage.map { flags.isEmpty ? $0 : $0.isEmpty ? "[OPTIONS]" : "[OPTIONS] " + $0 }
    }
}

extension ArgumentCount {
    /// What is wrong with `count` arguments, if anything.
    func objection(to count: Int) -> String? {
        switch self {
        case .none: count == 0 ? nil : "accepts no arguments"
        case .exactly(let wanted): count == wanted ? nil : "requires \(Self.plural(wanted))"
        case .atLeast(let least): count >= least ? nil : "requires at least \(Self.plural(least))"
        case .atMost(let most): count <= most ? nil : "requires at most \(Self.plural(most))"
        case .between(let least, let most):
            least...most ~= count ? nil : "requires at least \(least) and at most \(Self.plural(most))"
        case .any: nil
        }
    }

    private static func plural(_ count: Int) -> String { count == 1 ? "1 argument" : "\(count) arguments" }
}
