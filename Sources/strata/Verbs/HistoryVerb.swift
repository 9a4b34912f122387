// SPDX-License-Identifier: Apache-2.0

import Command

enum HistoryVerb {
    static let declaration = VerbDeclaration(
        "Show the history of an image",
        usage: ["IMAGE"],
        arguments: .exactly(1),
        flags: [
            SharedFlags.listFormat,
            Flag("human", "H", .bool, "Print sizes and dates in human readable format", defaultValue: "true"),
            SharedFlags.noTrunc,
            Flag("quiet", "q", .bool, "Only show image IDs"),
        ],
        completes: [.image]
    )
}
