// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerChangesVerb {
    static let declaration = VerbDeclaration(
        "List what a layer changes against its parent",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [SharedFlags.listFormat],
        completes: [.layer]
    )
}
