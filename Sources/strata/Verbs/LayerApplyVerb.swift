// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerApplyVerb {
    static let declaration = VerbDeclaration(
        "Unpack a layer tar into a writable layer",
        usage: ["LAYER FILE|-"],
        arguments: .exactly(2),
        flags: [SharedFlags.noSync],
        examples: [.init("strata layer apply k3x9q2ab layer.tar.gz", "Unpack a packed layer")],
        completes: [.layer, .file]
    )
}
