// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LayerStore

enum LayerInspectVerb: Verb {
    static let declaration = VerbDeclaration(
        "Return low-level information on layers",
        usage: ["LAYER [LAYER...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.format],
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        return try Inspection.print(parsed.arguments, format: parsed.string("format")) { name in
            let id = try engine.layerID(name)
            return try LayerText.json(try engine.layers.layer(id), engine: engine)
        }
    }
}
