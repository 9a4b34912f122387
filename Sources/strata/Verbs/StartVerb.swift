// SPDX-License-Identifier: Apache-2.0

import Command

enum StartVerb {
    static let declaration = VerbDeclaration(
        "Start one or more stopped containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [
            Flag("attach", "a", .bool, "Attach STDOUT/STDERR and forward signals"),
            SharedFlags.detachKeys,
            Flag("interactive", "i", .bool, "Attach container's STDIN"),
        ],
        examples: [.init("strata start -ai job", "Start a container and attach to it")],
        completes: [.container]
    )
}
