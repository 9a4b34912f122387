// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerCreateVerb {
    static let declaration = VerbDeclaration(
        "Create a writable layer and print its ID",
        usage: ["[PARENT]"],
        arguments: .atMost(1),
        flags: [Flag("size", .bytes, "Limit on what the layer may hold")],
        examples: [.init("strata layer create", "Create a layer that stands on nothing")],
        completes: [.layer]
    )
}
