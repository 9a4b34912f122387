// SPDX-License-Identifier: Apache-2.0

import Command

enum LogsVerb {
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
}
