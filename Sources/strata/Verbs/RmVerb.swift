// SPDX-License-Identifier: Apache-2.0

import Command

enum RmVerb {
    static let declaration = VerbDeclaration(
        "Remove one or more containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [Flag("force", "f", .bool, "Force the removal of a running container (uses SIGKILL)")],
        examples: [.init("strata rm $(strata ps -aq)", "Remove all stopped containers")],
        completes: [.container]
    )
}
