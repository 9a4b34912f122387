// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum RunVerb: Verb {
    static let declaration = VerbDeclaration(
        "Create and run a new container from an image",
        usage: ["IMAGE [COMMAND] [ARG...]"],
        arguments: .atLeast(1),
        flags: ContainerFlags.creation + [
            Flag("detach", "d", .bool, "Run container in background and print container ID"),
            SharedFlags.detachKeys,
            Flag("dry-run", .bool, "Print the steps that would launch the container, and launch nothing"),
            Flag("sig-proxy", .bool, "Proxy received signals to the process", defaultValue: "true"),
        ],
        examples: [
            .init("strata run --rm -it busybox sh", "Run a shell, and remove the container when it ends"),
            .init(
                "strata --storage-driver vfs run --rm busybox true",
                "Run the same image on another storage driver"
            ),
            .init(
                "strata run -d --name web -m 256m --pids-limit 100 web:1",
                "Run in the background, within limits"
            ),
            .init(
                "strata run --rm -v /srv/data:/data:ro busybox ls /data",
                "Show the container a directory, read-only"
            ),
        ],
        section: .common,
        interspersed: false,
        completes: [.image, .nothing],
        failureStatus: 125
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        var options = try ContainerOptions(parsed)
        options.detached = parsed.flag("detach")
        let attachment = options.detached ? Attachment() : try Attachment(parsed)
        let begun = parsed.flag("dry-run") ? nil : Engine.begin(options)
        let engine = try parsed.engine(.write)
        if parsed.flag("dry-run") {
            Console.output.write(try engine.launchPlan(options) + "\n")
            return 0
        }
        if options.detached {
            let record = try engine.runDetached(options)
            Console.output.write("\(record.id)\n")
            return 0
        }
        return try engine.run(options, attachment, begun: begun)
    }
}
