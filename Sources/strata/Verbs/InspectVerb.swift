// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum InspectVerb: Verb {
    static let declaration = VerbDeclaration(
        "Return low-level information on containers and images",
        usage: ["NAME|ID [NAME|ID...]"],
        arguments: .atLeast(1),
        flags: [
            SharedFlags.format,
            Flag("size", "s", .bool, "Display total file sizes if the type is container"),
            Flag("type", .string, "Only inspect objects of the given type", values: ["container", "image"]),
        ],
        examples: [.init("strata inspect -f '{{.State.Status}}' web", "Show one value")],
        completes: [.containerOrImage]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let type = parsed.string("type")
        return try Inspection.print(parsed.arguments, format: parsed.string("format")) { name in
            switch type {
            case "container": return try engine.inspectContainer(name, withSizes: parsed.flag("size"))
            case "image": return try engine.inspectImage(name)
            default: return try engine.inspect(name, withSizes: parsed.flag("size"))
            }
        }
    }
}
