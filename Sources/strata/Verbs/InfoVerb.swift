// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import JSON

enum InfoVerb: Verb {
    static let declaration = VerbDeclaration(
        "Display system-wide information",
        flags: [SharedFlags.format],
        section: .common
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let info = try parsed.engine(.read).info()
        if let format = parsed.string("format") {
            Console.output.write(try Inspection.text(.object(info), format: format))
            return 0
        }
        for member in info { Console.output.write("\(member.key): \(text(member.value))\n") }
        return 0
    }

    private static func text(_ value: JSON) -> String { value.string ?? value.text }
}
