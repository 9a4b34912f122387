// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LinuxSys
import Supervisor

enum LogsVerb: Verb {
    static let declaration = VerbDeclaration(
        "Fetch the logs of a container",
        usage: ["CONTAINER"],
        arguments: .exactly(1),
        flags: [
            Flag("follow", "f", .bool, "Follow log output"),
            Flag(
                "since",
                .string,
                "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"
            ),
            Flag(
                "tail",
                "n",
                .string,
                "Number of lines to show from the end of the logs",
                defaultValue: "all"
            ),
            Flag("timestamps", "t", .bool, "Show timestamps"),
            Flag(
                "until",
                .string,
                "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"
            ),
        ],
        examples: [.init("strata logs -f --tail 10 web", "Show the last ten lines, then what comes")],
        completes: [.container]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        var query = LogQuery()
        // As Docker: whatever is no number of lines means all of them.
        if let count = parsed.string("tail").flatMap({ Int($0) }), count >= 0 { query.tail = count }
        query.since = try parsed.string("since").map(TimeWord.parse)
        query.until = try parsed.string("until").map(TimeWord.parse)
        let stamps = parsed.flag("timestamps")
        try parsed.engine(.read).logs(parsed.arguments[0], query, follows: parsed.flag("follow")) { record in
            let console = record.stream == .stderr ? Console.errors : Console.output
            if stamps { console.write(record.time.rfc3339 + " ") }
            console.write(record.bytes)
        }
        return 0
    }
}
