// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import JSON
import LayerStore
import Storage
import StoreRoot

enum DriverLsVerb: Verb {
    static let declaration = VerbDeclaration(
        "List storage drivers and whether they work here",
        flags: [
            SharedFlags.listFormat,
            Flag("quiet", "q", .bool, "Only display the names of drivers that work here"),
        ],
        examples: [.init("strata driver ls", "Show why a driver does not work here, and what to do")]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let rows = engine.layers.entries.map { entry -> JSON in
            var row: JSONObject = ["Name": .string(entry.name), "Summary": .string(entry.summary)]
            switch entry.type.probe(home: engine.root.home(ofDriver: entry.name)) {
            case .works(let detail):
                row["Works"] = true
                row["Status"] = .string(detail.isEmpty ? "works" : "works: \(detail)")
                row["Remedy"] = ""
            case .unavailable(let reason, let remedy):
                row["Works"] = false
                row["Status"] = .string("not here: \(reason)")
                row["Remedy"] = .string(remedy ?? "")
            case .failed(let error):
                row["Works"] = false
                row["Status"] = .string("FAILED: \(error.message)")
                row["Remedy"] = .string(error.remedy ?? "")
            }
            return .object(row)
        }
        let shown = parsed.flag("quiet") ? rows.filter { $0["Works"]?.bool == true } : rows
        Console.output.write(
            try listing.text(shown, format: parsed.string("format"), quiet: parsed.flag("quiet"))
        )
        return 0
    }

    private static let listing = Listing(
        headers: [
            ("Name", "DRIVER"), ("Works", "WORKS"), ("Status", "STATUS"), ("Remedy", "REMEDY"),
            ("Summary", "WHAT IT IS"),
        ],
        shown: ["Name", "Status", "Remedy", "Summary"],
        identity: "Name"
    )
}
