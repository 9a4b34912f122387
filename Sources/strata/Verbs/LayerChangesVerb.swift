// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LayerStore
import LinuxSys
import Storage

enum LayerChangesVerb: Verb {
    static let declaration = VerbDeclaration(
        "List what a layer changes against its parent",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [SharedFlags.listFormat],
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let changes = try engine.layers.changes(try engine.layerID(parsed.arguments[0])).changes
        try Changes.print(changes.filter { !$0.path.isRoot }, format: parsed.string("format"))
        return 0
    }
}
