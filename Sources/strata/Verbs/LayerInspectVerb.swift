// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerInspectVerb {
    static let declaration = VerbDeclaration(
        "Return low-level information on layers",
        usage: ["LAYER [LAYER...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.format],
        completes: [.layer]
    )
}
