// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import JSON

enum SystemDfVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show disk usage of the store",
        flags: [
            SharedFlags.listFormat, Flag("verbose", "v", .bool, "Show detailed information on space usage"),
        ]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let usage = try parsed.engine(.read).diskUsage()
        if parsed.flag("verbose") {
            let rows = usage.layers.map { LayerText.usage($0) }
            Console.output.write(try layers.text(rows, format: parsed.string("format")))
            return 0
        }
        let rows = usage.summary.map { line -> JSON in
            [
                "Type": .string(line.type), "TotalCount": .string("\(line.count)"),
                "Active": .string("\(line.active)"),
                "Size": .string(Human.size(line.bytes)),
                "Reclaimable": .string(Human.size(line.reclaimable)),
            ]
        }
        Console.output.write(try listing.text(rows, format: parsed.string("format")))
        return 0
    }

    private static let listing = Listing(
        headers: [
            ("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"),
            ("Reclaimable", "RECLAIMABLE"),
        ],
        shown: ["Type", "TotalCount", "Active", "Size", "Reclaimable"],
        identity: "Type"
    )

    private static let layers = Listing(
        headers: [
            ("ID", "LAYER ID"), ("Driver", "DRIVER"), ("Kind", "KIND"), ("Size", "SIZE"),
            ("Inodes", "INODES"),
            ("Users", "USERS"),
        ],
        shown: ["ID", "Driver", "Kind", "Size", "Inodes", "Users"],
        identity: "ID"
    )
}
