// SPDX-License-Identifier: Apache-2.0

import Command

enum LayerMountVerb {
    static let declaration = VerbDeclaration(
        "Mount a layer on a directory",
        description: """
            The mount stands in the caller's mount table until 'strata layer unmount'.
            A layer that is still writable is locked meanwhile.
            """,
        usage: ["LAYER DIRECTORY"],
        arguments: .exactly(2),
        flags: [Flag("read-only", .bool, "Mount a writable layer read-only")],
        examples: [.init("strata layer mount k3x9q2ab /mnt", "Look at a layer with all it stands on")],
        completes: [.layer, .directory]
    )
}
