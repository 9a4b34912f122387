// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum WaitVerb: Verb {
    static let declaration = VerbDeclaration(
        "Block until one or more containers stop, then print their exit codes",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        return forEach(parsed.arguments) { name in
            Console.output.write("\(try engine.wait(name))\n")
        }
    }
}
