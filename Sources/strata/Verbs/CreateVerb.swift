// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum CreateVerb: Verb {
    static let declaration = VerbDeclaration(
        "Create a new container",
        usage: ["IMAGE [COMMAND] [ARG...]"],
        arguments: .atLeast(1),
        flags: ContainerFlags.creation,
        examples: [
            .init("strata create --name job busybox sleep 60", "Make a container, to be started later")
        ],
        interspersed: false,
        completes: [.image, .nothing]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let record = try parsed.engine(.write).create(try ContainerOptions(parsed))
        Console.output.write("\(record.id)\n")
        return 0
    }
}
