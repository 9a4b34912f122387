// SPDX-License-Identifier: Apache-2.0

import Command

enum SystemDfVerb {
    static let declaration = VerbDeclaration(
        "Show disk usage of the store",
        flags: [
            SharedFlags.listFormat, Flag("verbose", "v", .bool, "Show detailed information on space usage"),
        ]
    )
}
