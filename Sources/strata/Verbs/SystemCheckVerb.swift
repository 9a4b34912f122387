// SPDX-License-Identifier: Apache-2.0

import Command

enum SystemCheckVerb {
    static let declaration = VerbDeclaration(
        "Verify the store: its rows, layers and images",
        flags: [
            Flag("quick", .bool, "Do not read the content of layers"),
            Flag("repair", .bool, "Repair what can be repaired from stored blobs"),
        ],
        examples: [.init("strata system check --repair", "Verify everything and repair what is broken")]
    )
}
