// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import Images
import JSON
import LinuxSys

enum ImagesVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let filter = try ImageFilter(parsed.list("filter"), repository: parsed.arguments.first)
        let now = Timestamp.now
        let full = parsed.flag("no-trunc")
        let lines = try engine.images.list(all: parsed.flag("all")).filter(filter.matches)
        let columns =
            ["Repository", "Tag"] + (parsed.flag("digests") ? ["Digest"] : []) + [
                "ID", "CreatedSince", "Size",
            ]
        Console.output.write(
            try listing.text(
                lines,
                format: parsed.string("format"),
                quiet: parsed.flag("quiet"),
                shown: columns,
                field: { name in
                    { line in
                        let image = line.image
                        let text =
                            switch name {
                            case "Repository": line.reference?.familiarRepository ?? "<none>"
                            case "Tag": line.reference?.tag ?? "<none>"
                            case "Digest": image.manifestDigest.map { "\($0)" } ?? "<none>"
                            case "ID": full ? "\(image.id)" : image.shortID
                            case "CreatedSince": Human.ago(seconds: now.seconds - image.created.seconds)
                            case "CreatedAt": Human.date(image.created.rfc3339)
                            case "Size": Human.size(image.size)
                            default: ""
                            }
                        return .string(text)
                    }
                }
            )
        )
        return 0
    }

    private static let listing = Listing(
        headers: [
            ("Repository", "REPOSITORY"), ("Tag", "TAG"), ("Digest", "DIGEST"), ("ID", "IMAGE ID"),
            ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("Size", "SIZE"),
        ],
        shown: [],
        identity: "ID"
    )
}
