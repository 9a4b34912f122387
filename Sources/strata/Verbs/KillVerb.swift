// SPDX-License-Identifier: Apache-2.0

import Command

enum KillVerb {
    static let declaration = VerbDeclaration(
        "Kill one or more running containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.signal],
        examples: [.init("strata kill -s HUP web", "Send a signal other than KILL")],
        completes: [.runningContainer]
    )
}
