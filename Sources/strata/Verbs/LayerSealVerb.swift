// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerSealVerb {
    static let declaration = VerbDeclaration(
        "Make a writable layer immutable, so that others can stand on it",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [SharedFlags.noSync],
        completes: [.layer]
    )
}
