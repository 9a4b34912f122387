// SPDX-License-Identifier: Apache-2.0

import Command

/// A small program with every shape of verb.
enum Sample {
    static let program = Program(
        name: "prog",
        summary: "Does things",
        flags: [
            Flag("root", .string, "Directory of the state", environment: "PATH"),
            Flag("debug", "D", .bool, "Enable debug mode"),
            Flag("storage-opt", .pairs, "Driver options"),
            Flag("version", "v", .bool, "Print version and quit"),
        ],
        groups: [
            Program.Group("container", "Manage containers"), Program.Group("layer", "Manage layers"),
            Program.Group("empty", "Has no verbs"),
        ],
        verbs: [
            VerbEntry("run", aliases: ["container run"], Run.self),
            VerbEntry("ps", aliases: ["container ls"], List.self),
            VerbEntry("tag", Tag.self),
            VerbEntry("layer mount", Mount.self),
            VerbEntry("man", Man.self),
        ]
    )

    enum Run: Verb {
        static let declaration = VerbDeclaration(
            "Create and run a new container",
            description: "Runs it.",
            usage: ["IMAGE [COMMAND] [ARG...]"],
            arguments: .atLeast(1),
            flags: [
                Flag("rm", .bool, "Remove it when it exits"),
                Flag("interactive", "i", .bool, "Keep STDIN open"),
                Flag("tty", "t", .bool, "Allocate a pseudo-TTY"),
                Flag("detach", "d", .bool, "Run in background"),
                Flag("sig-proxy", .bool, "Proxy received signals to the process", defaultValue: "true"),
                Flag("memory", "m", .bytes, "Memory limit"),
                Flag("cpus", .decimal, "Number of CPUs"),
                Flag("pids-limit", .int, "Tune container pids limit (set -1 for unlimited)"),
                Flag("env", "e", .list, "Set environment variables"),
                Flag("label", "l", .pairs, "Set meta data on a container"),
                Flag("hostname", "h", .string, "Container host name"),
                Flag(
                    "pull",
                    .string,
                    "When to pull",
                    defaultValue: "missing",
                    values: ["always", "missing"]
                ),
                Flag("timeout", .duration, "How long to wait"),
            ],
            examples: [.init("prog run --rm alpine true", "Run a command and remove the container")],
            section: .common,
            interspersed: false,
            completes: [.image, .nothing]
        )
        static func run(_ parsed: Parsed) throws -> Int32 { 0 }
    }

    enum List: Verb {
        static let declaration = VerbDeclaration("List containers", flags: [Flag("all", "a", .bool, "All")])
        static func run(_ parsed: Parsed) throws -> Int32 { 0 }
    }

    enum Tag: Verb {
        static let declaration = VerbDeclaration(
            "Create a tag",
            usage: ["SOURCE TARGET"],
            arguments: .exactly(2)
        )
        static func run(_ parsed: Parsed) throws -> Int32 { 0 }
    }

    enum Mount: Verb {
        static let declaration = VerbDeclaration(
            "Mount a layer",
            usage: ["LAYER DIR"],
            arguments: .between(1, 2),
            flags: [Flag("read-only", .bool, "Read only")],
            completes: [.layer, .directory]
        )
        static func run(_ parsed: Parsed) throws -> Int32 { 0 }
    }

    enum Man: Verb {
        static let declaration = VerbDeclaration("Write the manual", arguments: .any, section: .hidden)
        static func run(_ parsed: Parsed) throws -> Int32 { 0 }
    }

    /// What a command line that calls a verb is understood as.
    static func parse(_ line: String) throws -> Parsed {
        try parse(line.split(separator: " ").map { Word(String($0)) })
    }

    static func parse(_ words: [Word]) throws -> Parsed {
        guard case .run(_, let parsed) = try program.interpret(words) else { throw NotAVerb() }
        return parsed
    }

    struct NotAVerb: Error {}
}
