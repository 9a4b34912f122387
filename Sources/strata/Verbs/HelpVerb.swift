// SPDX-License-Identifier: Apache-2.0

import Command

enum HelpVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show help on a command",
        usage: ["[COMMAND...]"],
        arguments: .any,
        section: .hidden,
        completes: [.verb]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let topic = try Strata.program.topic(parsed.arguments)
        Console.output.write(Strata.program.help(topic, width: Console.output.width ?? 80))
        return 0
    }
}
