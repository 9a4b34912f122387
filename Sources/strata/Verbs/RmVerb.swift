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
        let force = parsed.flag("force")
        return forEach(parsed.arguments) { name in
            do {
                try engine.remove(name, force: force)
            } catch let error as EngineError where force && error.code == .notFound {
                // As Docker: told, but what is to be gone is gone.
                return Console.errors.write("Error: \(error)\n")
            }
            Console.output.write("\(name)\n")
        }
    }
}
