// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import JSON

enum DriverInfoVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show how a storage driver stands",
        usage: ["[DRIVER]"],
        arguments: .atMost(1),
        flags: [SharedFlags.format],
        completes: [.driver]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        let name = try parsed.arguments.first ?? engine.driverName()
        let pairs = try engine.driverInfo(name)
        if let format = parsed.string("format") {
            var object = JSONObject()
            for pair in pairs { object[pair.name] = .string(pair.value) }
            Console.output.write(try Inspection.text(.object(object), format: format))
            return 0
        }
        for pair in pairs { Console.output.write("\(pair.name): \(pair.value)\n") }
        return 0
    }
}
