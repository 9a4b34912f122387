// SPDX-License-Identifier: Apache-2.0

import Command
import Engine

enum ExecVerb: Verb {
    static let declaration = VerbDeclaration(
        "Execute a command in a running container",
        usage: ["CONTAINER COMMAND [ARG...]"],
        arguments: .atLeast(2),
        flags: [
            Flag("detach", "d", .bool, "Detached mode: run command in the background"),
            SharedFlags.detachKeys,
            Flag("env", "e", .list, "Set environment variables"),
            Flag("env-file", .list, "Read in a file of environment variables", completes: .file),
            Flag("interactive", "i", .bool, "Keep STDIN open even if not attached"),
            Flag("tty", "t", .bool, "Allocate a pseudo-TTY"),
            Flag("user", "u", .string, "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
            Flag("workdir", "w", .string, "Working directory inside the container"),
        ],
        examples: [
            .init("strata exec -it web sh", "Run a shell in the container 'web'"),
            .init("strata exec -u nobody -e LANG=C web id", "Run a command as another user"),
        ],
        section: .common,
        interspersed: false,
        completes: [.runningContainer, .nothing]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let words = parsed.arguments
        var options = ExecOptions(container: words[0], command: Array(words.dropFirst()))
        options.environment =
            try EnvironmentFile.variables(parsed.wordList("env-file")) + EnvironmentFile.given(parsed)
        options.user = parsed.string("user")
        options.workingDirectory = parsed.string("workdir")
        options.terminal = parsed.flag("tty")
        options.interactive = parsed.flag("interactive")
        options.detached = parsed.flag("detach")
        let attachment = options.detached ? Attachment() : try Attachment(parsed)
        return try parsed.engine(.read).exec(options, attachment)
    }
}
