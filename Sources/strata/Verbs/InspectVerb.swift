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

    static func run(_ parsed: Parsed) throws -> Int32 { try inspect(parsed, type: parsed.string("type")) }

    /// - Parameter type: `nil`: whatever has the name, a container before an image.
    fileprivate static func inspect(_ parsed: Parsed, type: String?) throws -> Int32 {
        let engine = try parsed.engine(.read)
        return try Inspection.print(parsed.arguments, format: parsed.string("format")) { name in
            switch type {
            case "container": return try engine.inspectContainer(name, withSizes: parsed.flag("size"))
            case "image": return try engine.inspectImage(name)
            default: return try engine.inspect(name, withSizes: parsed.flag("size"))
            }
        }
    }
}

enum ContainerInspectVerb: Verb {
    static let declaration = VerbDeclaration(
        "Display detailed information on one or more containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.format, Flag("size", "s", .bool, "Display total file sizes")],
        examples: [.init("strata container inspect -f '{{.State.Pid}}' web", "Show one value")],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 { try InspectVerb.inspect(parsed, type: "container") }
}

enum ImageInspectVerb: Verb {
    static let declaration = VerbDeclaration(
        "Display detailed information on one or more images",
        usage: ["IMAGE [IMAGE...]"],
        arguments: .atLeast(1),
        flags: [SharedFlags.format],
        examples: [.init("strata image inspect -f '{{json .Config.Env}}' base", "Show one value")],
        completes: [.image]
    )

    static func run(_ parsed: Parsed) throws -> Int32 { try InspectVerb.inspect(parsed, type: "image") }
}
