// SPDX-License-Identifier: Apache-2.0

import Command

enum RmiVerb {
    static let declaration = VerbDeclaration(
        "Remove one or more images",
        usage: ["IMAGE [IMAGE...]"],
        arguments: .atLeast(1),
        flags: [
            Flag("force", "f", .bool, "Force removal of the image"),
            Flag("no-prune", .bool, "Do not delete untagged parents"),
        ],
        completes: [.image]
    )
}
