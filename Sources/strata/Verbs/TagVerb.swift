// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images

enum TagVerb: Verb {
    static let declaration = VerbDeclaration(
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        usage: ["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"],
        arguments: .exactly(2),
        examples: [.init("strata tag busybox example.org/tools/busybox:1", "Give an image a second name")],
        completes: [.image]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        try parsed.engine(.write).images.tag(parsed.arguments[0], as: parsed.arguments[1])
        return 0
    }
}
