// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum StartVerb: Verb {
    static let declaration = VerbDeclaration(
        "Start one or more stopped containers",
        usage: ["CONTAINER [CONTAINER...]"],
        arguments: .atLeast(1),
        flags: [
            Flag("attach", "a", .bool, "Attach STDOUT/STDERR and forward signals"),
            SharedFlags.detachKeys,
            Flag("interactive", "i", .bool, "Attach container's STDIN"),
        ],
        examples: [.init("strata start -ai job", "Start a container and attach to it")],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.write)
        guard parsed.flag("attach") || parsed.flag("interactive") else {
            return startAll(parsed.arguments, engine)
        }
        guard parsed.arguments.count == 1 else {
            throw EngineError(.usage, "you cannot start and attach multiple containers at once")
        }
        var attachment = try Attachment(parsed)
        attachment.input = parsed.flag("interactive")
        return try engine.start(parsed.arguments[0], attachment)
    }

    private static func startAll(_ names: [String], _ engine: Engine) -> Int32 {
        var failed: [String] = []
        let status = forEach(names) { name in
            do {
                try engine.start(name)
                Console.output.write("\(name)\n")
            } catch {
                failed.append(name)
                throw error
            }
        }
        // Why is said above, and there perhaps not of which.
        if !failed.isEmpty, names.count > 1 {
            Console.errors.write("Error: failed to start containers: \(failed.joined(separator: ", "))\n")
        }
        return status
    }
}
