// SPDX-License-Identifier: Apache-2.0

/// A shell for which completions can be written.
package enum Shell: String, CaseIterable, Sendable {
    case bash
    case fish
    case zsh
}

extension Program {
    /// The script that teaches a shell the program's command line.
    ///
    /// The bash and zsh scripts hold the table as functions and walk the words by it; names of containers, images,
    /// layers and drivers are asked from the program when they are needed.
    package func completions(for shell: Shell) -> String {
        switch shell {
        case .bash: "# bash completion for \(name)\n\n" + tables + offers + bashDriver
        case .zsh: "#compdef \(name)\n\n" + tables + offers + zshDriver
        case .fish: fishScript
        }
    }

    /// Functions that print what may stand where, one word a line, a tab before its explanation.
    private var tables: String {
        var verbRows = [("", topWords)]
        for group in shownGroups {
            verbRows.append((group.name, members(of: group).map { ($0.name, $0.entry.declaration.summary) }))
        }
        var optionRows = [("", Self.optionWords(flags))]
        var valueRows = [("", flags)]
        var argumentRows: [(String, [(String, String)])] = []
        var aliasRows: [(String, [(String, String)])] = []
        for entry in listed {
            let declaration = entry.declaration
            optionRows.append((entry.name, Self.optionWords(declaration.flags)))
            valueRows.append((entry.name, declaration.flags))
            argumentRows.append((entry.name, declaration.completes.map { ($0.rawValue, "") }))
            for alias in entry.aliases { aliasRows.append((alias, [(entry.name, "")])) }
        }
        return function("verbs", verbRows) + function("alias", aliasRows) + function("options", optionRows)
            + function("arguments", argumentRows) + valueFunction(valueRows)
    }

    private var topWords: [(String, String)] {
        let single = listed.filter { !$0.name.contains(" ") }.map { ($0.name, $0.declaration.summary) }
        return (single + shownGroups.map { ($0.name, $0.summary) }).sorted { $0.0 < $1.0 }
    }

    private static func optionWords(_ flags: [Flag]) -> [(String, String)] {
        let shown = flags.filter { !$0.hidden }.map { ("--\($0.name)", $0.firstLine) }
        return (shown + [("--help", "Print usage")]).sorted { $0.0 < $1.0 }
    }

    private func function(_ purpose: String, _ rows: [(String, [(String, String)])]) -> String {
        var text = "_\(name)_\(purpose)() {\n    case \"$1\" in\n"
        for (key, words) in rows where !words.isEmpty {
            text += "    \(quoted(key)))\n        printf '%s\\n'"
            for (word, explanation) in words {
                text += " \\\n            " + quoted(explanation.isEmpty ? word : "\(word)\t\(explanation)")
            }
            text += " ;;\n"
        }
        return text + "    esac\n}\n\n"
    }

    /// A function that prints the values of a flag that takes one, and fails for all others.
    private func valueFunction(_ rows: [(String, [Flag])]) -> String {
        var text = "_\(name)_value() {\n    case \"$1 $2\" in\n"
        for (verb, flags) in rows {
            for flag in flags where flag.kind != .bool {
                var patterns = [quoted("\(verb) --\(flag.name)")]
                if let short = flag.short { patterns.append(quoted("\(verb) -\(short)")) }
                let kind =
                    flag.values.isEmpty
                    ? flag.completes.rawValue : "words " + flag.values.joined(separator: " ")
                text += "    \(patterns.joined(separator: "|"))) echo \(quoted(kind)) ;;\n"
            }
        }
        return text + "    *) return 1 ;;\n    esac\n}\n\n"
    }

    /// A function that prints the words of a kind.
    private var offers: String {
        """
        _\(name)_offer() {
            case "$1" in
            words*) echo "${1#words }" | tr ' ' '\\n' ;;
            container) \(name) ps --all --format '{{.Names}}' ;;
            runningContainer) \(name) ps --format '{{.Names}}' ;;
            image) \(name) images --format '{{.Repository}}:{{.Tag}}' ;;
            containerOrImage) _\(name)_offer container; _\(name)_offer image ;;
            layer) \(name) layer ls --quiet ;;
            driver) \(name) driver ls --format '{{.Name}}' ;;
            verb) _\(name)_verbs "" ;;
            shell) printf '%s\\n' bash fish zsh ;;
            esac 2>/dev/null
        }


        """
    }
}

extension Flag {
    var firstLine: String { String(help.prefix { $0 != "\n" }) }
}

/// `text` as one word of a shell.
func quoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
