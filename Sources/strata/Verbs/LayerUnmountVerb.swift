// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum LayerUnmountVerb: Verb {
    static let declaration = VerbDeclaration(
        "Unmount one or more layers, each named by its ID or its directory",
        usage: ["LAYER|DIRECTORY [LAYER|DIRECTORY...]"],
        arguments: .atLeast(1),
        completes: [.directory]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        return forEach(parsed.arguments) { name in
            try engine.unmountLayer(name)
            Console.output.write("\(name)\n")
        }
    }
}
