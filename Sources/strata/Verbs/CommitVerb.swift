// SPDX-License-Identifier: Apache-2.0

import Command

enum CommitVerb {
    static let declaration = VerbDeclaration(
        "Create a new image from a container's changes",
        usage: ["CONTAINER [REPOSITORY[:TAG]]"],
        arguments: .between(1, 2),
        flags: [
            Flag("author", "a", .string, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
            SharedFlags.changes,
            Flag("message", "m", .string, "Commit message"),
            SharedFlags.noSync,
            Flag("pause", "p", .bool, "Pause container during commit", defaultValue: "true"),
        ],
        examples: [
            .init(
                "strata commit -c 'CMD [\"httpd\"]' web web:2",
                "Make an image, with another command to run"
            )
        ],
        completes: [.container, .image]
    )
}
