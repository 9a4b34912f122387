// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum CommitVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        var options = CommitOptions(container: parsed.arguments[0])
        options.reference = parsed.arguments.count > 1 ? parsed.arguments[1] : nil
        options.author = parsed.string("author") ?? ""
        options.message = parsed.string("message") ?? ""
        options.changes = parsed.list("change")
        options.pauses = parsed.flag("pause")
        Interruption.listen()
        let engine = try parsed.engine(.write, durable: !parsed.flag("no-sync"))
        let id = try ByteProgress.during("Committing \(options.container)") { try engine.commit(options) }
        Console.output.write("\(id)\n")
        return 0
    }
}
