// SPDX-License-Identifier: Apache-2.0

import Command

enum WaitVerb {
    static let declaration = VerbDeclaration(
        "Block until one or more containers stop, then print their exit codes",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        completes: [.container]
    )
}
