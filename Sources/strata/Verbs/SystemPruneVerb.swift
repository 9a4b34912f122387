// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format

enum SystemPruneVerb: Verb {
    static let declaration = VerbDeclaration(
        "Remove unused data",
        flags: [
            Flag("all", "a", .bool, "Remove all unused images not just dangling ones"),
            SharedFlags.force,
            Flag("wait", .bool, "Wait until the space is free (btrfs frees it later)"),
        ]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        if !parsed.flag("force") {
            guard
                try Confirmation.ask(
                    """
                    WARNING! This will remove:
                      - all stopped containers
                      - all \(parsed.flag("all") ? "images without at least one container" : "dangling images")
                      - layers and blobs that nothing needs

                    Are you sure you want to continue? [y/N]
                    """
                )
            else { return 0 }
        }
        let engine = try parsed.engine(.write)
        let report = try engine.prune(allImages: parsed.flag("all"), waits: parsed.flag("wait"))
        for line in report.lines { Console.output.write(line + "\n") }
        Console.output.write("Total reclaimed space: \(Human.size(report.bytes))\n")
        for failure in report.failures { Console.errors.write("Error: \(failure)\n") }
        return report.failures.isEmpty ? 0 : 1
    }
}
