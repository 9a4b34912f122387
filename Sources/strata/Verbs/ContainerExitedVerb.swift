// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

/// Called by a supervisor when its container has ended, with the locks that it holds.
enum ContainerExitedVerb: Verb {
    static let declaration = VerbDeclaration(
        "Store how a container ended",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        section: .hidden
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        try parsed.engine(.write).containerExited(parsed.arguments[0])
        return 0
    }
}
