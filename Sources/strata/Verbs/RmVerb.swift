// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum RmVerb: Verb {
    static let declaration = VerbDeclaration(
        "Remove one or more containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [Flag("force", "f", .bool, "Force the removal of a running container (uses SIGKILL)")],
        examples: [.init("strata rm $(strata ps -aq)", "Remove all stopped containers")],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        return forEach(parsed.arguments) { name in
            try engine.remove(name, force: parsed.flag("force"))
            Console.output.write("\(name)\n")
        }
    }
}
