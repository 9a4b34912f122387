// SPDX-License-Identifier: Apache-2.0

import Command

enum InspectVerb {
    static let declaration = VerbDeclaration(
        "Return low-level information on containers and images",
        usage: ["NAME|ID [NAME|ID...]"],
        arguments: .atLeast(1),
        flags: [
            SharedFlags.format,
            Flag("size", "s", .bool, "Display total file sizes if the type is container"),
            Flag("type", .string, "Only inspect objects of the given type", values: ["container", "image"]),
        ],
        examples: [.init("strata inspect -f '{{.State.Status}}' web", "Show one value")],
        completes: [.containerOrImage]
    )
}
