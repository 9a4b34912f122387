// SPDX-License-Identifier: Apache-2.0

import Command

enum ExportVerb {
    static let declaration = VerbDeclaration(
        "Export a container's filesystem as a tar archive",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        flags: [Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file)],
        examples: [.init("strata export web | tar -t", "List all files of a container")],
        completes: [.container]
    )
}
