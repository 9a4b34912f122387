// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerTreeVerb {
    static let declaration = VerbDeclaration(
        "Show layers with what stands on them",
        usage: ["[LAYER]"],
        arguments: .atMost(1),
        completes: [.layer]
    )
}
