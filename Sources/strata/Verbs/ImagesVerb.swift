// SPDX-License-Identifier: Apache-2.0

import Command

enum ImagesVerb {
    static let declaration = VerbDeclaration(
        "List images",
        usage: ["[REPOSITORY[:TAG]]"],
        arguments: .atMost(1),
        flags: [
            Flag("all", "a", .bool, "Show all images (default hides intermediate images)"),
            Flag("digests", .bool, "Show digests"),
            Flag("filter", "f", .list, "Filter output based on conditions provided", valueName: "filter"),
            SharedFlags.listFormat,
            SharedFlags.noTrunc,
            Flag("quiet", "q", .bool, "Only show image IDs"),
        ],
        examples: [
            .init("strata images --format '{{.Repository}}:{{.Tag}} {{.Size}}'", "Choose what is shown")
        ],
        section: .common,
        completes: [.image]
    )
}
