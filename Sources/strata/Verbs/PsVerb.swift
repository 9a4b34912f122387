// SPDX-License-Identifier: Apache-2.0

import Command

enum PsVerb {
    static let declaration = VerbDeclaration(
        "List containers",
        flags: [
            Flag("all", "a", .bool, "Show all containers (default shows just running)"),
            Flag("filter", "f", .list, "Filter output based on conditions provided", valueName: "filter"),
            SharedFlags.listFormat,
            Flag("last", "n", .int, "Show n last created containers (includes all states)"),
            Flag("latest", "l", .bool, "Show the latest created container (includes all states)"),
            SharedFlags.noTrunc,
            Flag("quiet", "q", .bool, "Only display container IDs"),
            Flag("size", "s", .bool, "Display total file sizes"),
        ],
        examples: [
            .init("strata ps -a", "List all containers, stopped ones too"),
            .init("strata ps --format '{{.Names}}: {{.Status}}'", "Choose what is shown"),
        ],
        section: .common
    )
}
