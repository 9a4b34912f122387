// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerRmVerb {
    static let declaration = VerbDeclaration(
        "Remove one or more layers that nothing stands on",
        usage: ["LAYER [LAYER...]"],
        arguments: .atLeast(1),
        completes: [.layer]
    )
}
