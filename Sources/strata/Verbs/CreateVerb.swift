// SPDX-License-Identifier: Apache-2.0

import Command

enum CreateVerb {
    static let declaration = VerbDeclaration(
        "Create a new container",
        usage: ["IMAGE [COMMAND] [ARG...]"],
        arguments: .atLeast(1),
        flags: ContainerFlags.creation,
        examples: [
            .init("strata create --name job busybox sleep 60", "Make a container, to be started later")
        ],
        interspersed: false,
        completes: [.image, .nothing]
    )
}
