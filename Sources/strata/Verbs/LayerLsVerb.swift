// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerLsVerb {
    static let declaration = VerbDeclaration(
        "List layers",
        flags: [
            SharedFlags.listFormat, SharedFlags.noTrunc, Flag("quiet", "q", .bool, "Only display layer IDs"),
        ],
        examples: [.init("strata layer ls --format '{{.ID}} {{.Driver}} {{.Size}}'", "Choose what is shown")]
    )
}
