// SPDX-License-Identifier: Apache-2.0

import Command

enum DiffVerb {
    static let declaration = VerbDeclaration(
        "Inspect changes to files or directories on a container's filesystem",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        flags: [SharedFlags.listFormat],
        examples: [.init("strata diff web", "List what was added (A), changed (C) and deleted (D)")],
        completes: [.container]
    )
}
