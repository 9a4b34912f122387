// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import LayerStore
import LinuxSys

enum LayerLsVerb: Verb {
    static let declaration = VerbDeclaration(
        "List layers",
        flags: [
            SharedFlags.listFormat, SharedFlags.noTrunc, Flag("quiet", "q", .bool, "Only display layer IDs"),
        ],
        examples: [.init("strata layer ls --format '{{.ID}} {{.Driver}} {{.Size}}'", "Choose what is shown")]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let now = Timestamp.now
        let full = parsed.flag("no-trunc")
        Console.output.write(
            try listing.text(
                try engine.layers.layers(),
                format: parsed.string("format"),
                quiet: parsed.flag("quiet"),
                field: { name in { LayerText.field(name, of: $0, now: now, full: full) } }
            )
        )
        return 0
    }

    private static let listing = Listing(
        headers: [
            ("ID", "LAYER ID"), ("Driver", "DRIVER"), ("Kind", "KIND"), ("Parent", "PARENT"),
            ("Sealed", "SEALED"),
            ("ChainID", "CHAIN ID"), ("DiffID", "DIFF ID"), ("CreatedSince", "CREATED"),
            ("CreatedAt", "CREATED AT"),
            ("Size", "SIZE"),
        ],
        shown: ["ID", "Driver", "Kind", "Parent", "DiffID", "CreatedSince", "Size"],
        identity: "ID"
    )
}
