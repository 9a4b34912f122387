// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum KillVerb: Verb {
    static let declaration = VerbDeclaration(
        "Kill one or more running containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.signal],
        examples: [.init("strata kill -s HUP web", "Send a signal other than KILL")],
        completes: [.runningContainer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        return forEach(parsed.arguments) { name in
            try engine.kill(name, signal: parsed.string("signal") ?? "KILL")
            Console.output.write("\(name)\n")
        }
    }
}
