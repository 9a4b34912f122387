// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LayerStore

enum LayerRmVerb: Verb {
    static let declaration = VerbDeclaration(
        "Remove one or more layers that nothing stands on",
        usage: ["LAYER [LAYER...]"],
        arguments: .atLeast(1),
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        return forEach(parsed.arguments) { name in
            try engine.removeLayer(name)
            Console.output.write("\(name)\n")
        }
    }
}
