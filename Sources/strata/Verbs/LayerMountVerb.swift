// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import SystemPackage

enum LayerMountVerb: Verb {
    static let declaration = VerbDeclaration(
        "Mount a layer at an empty directory",
        usage: ["LAYER DIRECTORY"],
        arguments: .exactly(2),
        flags: [Flag("read-only", "r", .bool, "Mount a writable layer read-only, as sealed ones always are")],
        examples: [
            .init("strata layer mount k3x9q2ab /mnt", "Look at a layer, or change one that is not sealed"),
            .init("strata layer unmount /mnt", "Take it away again"),
        ],
        completes: [.layer, .directory]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let place = try parsed.engine(.write).mountLayer(
            parsed.arguments[0],
            at: FilePath(parsed.arguments[1]),
            isReadOnly: parsed.flag("read-only")
        )
        Console.output.write("\(place)\n")
        return 0
    }
}
