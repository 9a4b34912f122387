// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import SystemPackage

enum ExportVerb: Verb {
    static let declaration = VerbDeclaration(
        "Export a container's filesystem as a tar archive",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        flags: [Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file)],
        examples: [.init("strata export web | tar -t", "List all files of a container")],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let engine = try parsed.engine(.write)
        let name = parsed.arguments[0]
        guard let output = parsed.word("output").map({ FilePath($0.bytes) }) else {
            let output = try OutputFile.standardOutput()
            try ByteProgress.during("Exporting \(name)") { try engine.export(name, to: output) }
            return 0
        }
        try ByteProgress.during("Exporting \(name)") {
            try OutputFile.write(output) { try engine.export(name, to: $0) }
        }
        return 0
    }
}
