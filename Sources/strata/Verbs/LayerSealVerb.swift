// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LayerDiff
import LayerStore

enum LayerSealVerb: Verb {
    static let declaration = VerbDeclaration(
        "Make a writable layer immutable, so that others can stand on it",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [SharedFlags.noSync],
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write, durable: !parsed.flag("no-sync"))
        Console.output.write("\(try engine.layers.seal(try engine.layerID(parsed.arguments[0])))\n")
        return 0
    }
}
