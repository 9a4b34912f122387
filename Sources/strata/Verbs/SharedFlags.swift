// SPDX-License-Identifier: Apache-2.0

import Command

/// Flags that several verbs have in common.
enum SharedFlags {
    static let quiet = Flag("quiet", "q", .bool, "Only display IDs")
    static let noTrunc = Flag("no-trunc", .bool, "Don't truncate output")
    static let changes = Flag("change", "c", .list, "Apply Dockerfile instruction to the created image")
    static let force = Flag("force", "f", .bool, "Do not prompt for confirmation")
    static let detachKeys = Flag(
        "detach-keys",
        .string,
        "Override the key sequence for detaching a container"
    )
    static let noSync = Flag("no-sync", .bool, "Do not wait until the data is on disk")
    static let signal = Flag("signal", "s", .string, "Signal to send to the container")

    /// For listings, which print a table unless told otherwise.
    static let listFormat = Flag("format", .string, formatHelp(table: true))

    /// For verbs that print one thing.
    static let format = Flag("format", "f", .string, formatHelp(table: false))

    private static func formatHelp(table: Bool) -> String {
        var lines = ["Format output using a custom template:"]
        if table {
            lines += [
                "'table': Print output in table format with column headers (default)",
                "'table TEMPLATE': Print output in table format using the given Go template",
            ]
        }
        lines += ["'json': Print in JSON format", "'TEMPLATE': Print output using the given Go template"]
        return lines.joined(separator: "\n")
    }
}
