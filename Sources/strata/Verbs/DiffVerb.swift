// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum DiffVerb: Verb {
    static let declaration = VerbDeclaration(
        "Inspect changes to files or directories on a container's filesystem",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        flags: [SharedFlags.listFormat],
        examples: [
            .init("strata diff web", "List what was added (A), changed (C) and deleted (D)"),
            .init(
                "strata diff --format json web",
                "As JSON; PathHex has the bytes of a path that is not UTF-8"
            ),
        ],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        try Changes.print(
            try parsed.engine(.read).changes(of: parsed.arguments[0]),
            format: parsed.string("format")
        )
        return 0
    }
}
