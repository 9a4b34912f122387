// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerDiffVerb {
    static let declaration = VerbDeclaration(
        "Write a layer's changes as a layer tar",
        usage: ["LAYER"],
        arguments: .exactly(1),
        flags: [Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file)],
        examples: [.init("strata layer diff k3x9q2ab | tar -tv", "List a layer as it would be packed")],
        completes: [.layer]
    )
}
