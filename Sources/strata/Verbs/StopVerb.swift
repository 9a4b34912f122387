// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum StopVerb: Verb {
    static let declaration = VerbDeclaration(
        "Stop one or more running containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [
            SharedFlags.signal,
            Flag("timeout", "t", .int, "Seconds to wait before killing the container"),
            Flag("time", .int, "What --timeout was called before", hidden: true),
        ],
        examples: [.init("strata stop -t 2 web", "Give a container two seconds to end by itself")],
        completes: [.runningContainer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        let timeout = (parsed.int("timeout") ?? parsed.int("time")).map { Int(clamping: $0) }
        return forEach(parsed.arguments) { name in
            try engine.stop(name, signal: parsed.string("signal"), timeout: timeout)
            Console.output.write("\(name)\n")
        }
    }
}
