// SPDX-License-Identifier: Apache-2.0

import Command

enum CompletionVerb: Verb {
    static let declaration = VerbDeclaration(
        "Generate the autocompletion script for the specified shell",
        usage: ["bash|fish|zsh"],
        arguments: .exactly(1),
        examples: [
            .init("source <(strata completion bash)", "Load completions into the current bash"),
            .init("strata completion fish > ~/.config/fish/completions/strata.fish", "Install them for fish"),
        ],
        completes: [.shell]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let name = parsed.arguments.first ?? ""
        guard let shell = Shell(rawValue: name) else { throw UnknownShell(name: name) }
        Console.output.write(Strata.program.completions(for: shell))
        return 0
    }
}

private struct UnknownShell: Error, CustomStringConvertible {
    let name: String
    var description: String { "no completions for the shell '\(name)'; use bash, fish or zsh" }
}
