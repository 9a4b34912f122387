// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import SystemPackage

enum LayerDiffVerb: Verb {
    static let declaration = VerbDeclaration(
        "Write a layer's changes as a layer tar",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file)],
        examples: [.init("strata layer diff k3x9q2ab | tar -tv", "List a layer as it would be packed")],
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let engine = try parsed.engine(.read)
        let name = parsed.arguments[0]
        guard let output = parsed.word("output").map({ FilePath($0.bytes) }) else {
            try engine.writeLayer(name, to: try OutputFile.standardOutput())
            return 0
        }
        try OutputFile.write(output) { try engine.writeLayer(name, to: $0) }
        return 0
    }
}
