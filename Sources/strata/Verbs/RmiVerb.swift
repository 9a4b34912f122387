// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images

enum RmiVerb: Verb {
    static let declaration = VerbDeclaration(
        "Remove one or more images",
        usage: ["IMAGE [IMAGE...]"],
        arguments: .atLeast(1),
        flags: [
            Flag("force", "f", .bool, "Force removal of the image"),
            Flag("no-prune", .bool, "Do not delete untagged parents"),
        ],
        completes: [.image]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        return forEach(parsed.arguments) { name in
            if parsed.flag("force"), try !engine.hasImage(name) {
                Console.errors.write("Error: No such image: \(name)\n")
                return
            }
            let removed = try engine.removeImage(
                name,
                force: parsed.flag("force"),
                prune: !parsed.flag("no-prune")
            )
            for line in removed.lines { Console.output.write("\(line)\n") }
        }
    }
}
