// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerUnmountVerb {
    static let declaration = VerbDeclaration(
        "Unmount a layer that 'layer mount' mounted",
        usage: ["DIRECTORY"],
        arguments: .exactly(1),
        completes: [.directory]
    )
}
