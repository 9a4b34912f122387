// SPDX-License-Identifier: Apache-2.0

import Command

/// What the program `strata` is made of.
enum Strata {
    static let version = "0.1.0"

    static let program = Program(
        name: "strata",
        summary: "A container engine for Linux with pluggable storage drivers",
        flags: [
            Flag(
                "root",
                .string,
                "Directory of the store",
                environment: "STRATA_ROOT",
                completes: .directory
            ),
            Flag(
                "run-root",
                .string,
                "Directory of what lives only while the machine runs",
                completes: .directory
            ),
            Flag(
                "storage-driver",
                .string,
                "Storage driver to use",
                environment: "STRATA_STORAGE_DRIVER",
                completes: .driver
            ),
            Flag("storage-opt", .pairs, "Storage driver options", valueName: "list"),
            Flag(
                "log-level",
                "l",
                .string,
                "Set the logging level (\"debug\", \"info\", \"warn\", \"error\")",
                defaultValue: "warn",
                values: ["debug", "info", "warn", "error"]
            ),
            Flag("debug", "D", .bool, "Enable debug mode"),
            Flag("version", "v", .bool, "Print version information and quit"),
        ],
        groups: [
            Program.Group("container", "Manage containers"),
            Program.Group("driver", "Show storage drivers"),
            Program.Group("image", "Manage images"),
            Program.Group("layer", "Manage layers of the store directly"),
            Program.Group("system", "Manage the store"),
        ],
        verbs: verbs
    )

    /// The verbs that work.
    ///
    /// Those listed first in help's common commands keep this order.
    private static let verbs: [VerbEntry] = [
        VerbEntry("version", VersionVerb.self),
        VerbEntry("completion", CompletionVerb.self),
        VerbEntry("help", HelpVerb.self),
        VerbEntry("man", ManVerb.self),
    ]
}
