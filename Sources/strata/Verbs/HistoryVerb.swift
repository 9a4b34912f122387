// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import Images
import JSON
import LayerDiff
import LinuxSys

enum HistoryVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let now = Timestamp.now
        let full = parsed.flag("no-trunc")
        let human = parsed.flag("human")
        let rows = try engine.images.history(try engine.images.resolve(parsed.arguments[0])).map {
            line -> JSON in
            let id = line.id.map { full ? "\($0)" : String($0.hex.prefix(12)) } ?? "<missing>"
            let by = full || line.createdBy.count <= 45 ? line.createdBy : line.createdBy.prefix(44) + "…"
            let created = line.created ?? Timestamp(seconds: 0)
            return [
                "ID": .string(id),
                "CreatedSince": .string(
                    human ? Human.ago(seconds: now.seconds - created.seconds) : created.rfc3339
                ),
                "CreatedAt": .string(created.rfc3339),
                "CreatedBy": .string(by),
                "Size": .string(human ? Human.size(line.size) : "\(line.size)"),
                "Comment": .string(line.comment),
            ]
        }
        Console.output.write(
            try listing.text(rows, format: parsed.string("format"), quiet: parsed.flag("quiet"))
        )
        return 0
    }

    private static let listing = Listing(
        headers: [
            ("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"),
            ("CreatedBy", "CREATED BY"),
            ("Size", "SIZE"), ("Comment", "COMMENT"),
        ],
        shown: ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
        identity: "ID"
    )
}
