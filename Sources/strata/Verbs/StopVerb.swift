// SPDX-License-Identifier: Apache-2.0

import Command

enum StopVerb {
    static let declaration = VerbDeclaration(
        "Stop one or more running containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [
            SharedFlags.signal,
            Flag("timeout", "t", .int, "Seconds to wait before killing the container"),
        ],
        examples: [.init("strata stop -t 2 web", "Give a container two seconds to end by itself")],
        completes: [.runningContainer]
    )
}
