// SPDX-License-Identifier: Apache-2.0

import Command

enum SystemPruneVerb {
    static let declaration = VerbDeclaration(
        "Remove unused data",
        flags: [
            Flag("all", "a", .bool, "Remove all unused images not just dangling ones"),
            SharedFlags.force,
        ]
    )
}
