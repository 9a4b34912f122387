// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Storage

enum LayerCreateVerb: Verb {
    static let declaration = VerbDeclaration(
        "Create a writable layer and print its ID",
        usage: ["[PARENT]"],
        arguments: .atMost(1),
        flags: [Flag("size", .bytes, "Limit on what the layer may hold")],
        examples: [.init("strata layer create", "Create a layer that stands on nothing")],
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let id = try parsed.engine(.write).createLayer(
            over: parsed.arguments.first,
            size: parsed.bytes("size")
        )
        Console.output.write("\(id)\n")
        return 0
    }
}
