// SPDX-License-Identifier: Apache-2.0

extension Program {
    /// The text that `--help` prints, in Docker's layout.
    ///
    /// - Parameter width: columns of the terminal.
    package func help(_ topic: Topic, width: Int = 80) -> String {
        switch topic {
        case .program: programHelp(width)
        case .group(let group): groupHelp(group)
        case .verb(let entry): verbHelp(entry, width)
        }
    }

    private func programHelp(_ width: Int) -> String {
        let plain = verbs.filter { !$0.name.contains(" ") }
        var text = "Usage:  \(name) [OPTIONS] COMMAND\n\n\(summary)\n"
        let common = plain.filter { $0.declaration.section == .common }
        let others = plain.filter { $0.declaration.section == .other }.sorted { $0.name < $1.name }
        let rows = [
            ("Common Commands", common.map { ($0.name, $0.declaration.summary) }),
            ("Management Commands", shownGroups.map { ($0.name, $0.summary) }),
            ("Commands", others.map { ($0.name, $0.declaration.summary) }),
        ]
        for (title, rows) in rows where !rows.isEmpty { text += "\n\(title):\n" + Self.table(rows) }
        text += "\nGlobal Options:\n" + Self.flagTable(flags, width)
        return text + "\nRun '\(name) COMMAND --help' for more information on a command.\n"
    }

    private func groupHelp(_ group: Group) -> String {
        var text = "Usage:  \(name) \(group.name) COMMAND\n\n\(group.summary)\n\nCommands:\n"
        let rows = members(of: group).map { ($0.name, $0.entry.declaration.summary) }
        text += Self.table(rows.sorted { $0.0 < $1.0 })
        return text + "\nRun '\(name) \(group.name) COMMAND --help' for more information on a command.\n"
    }

    private func verbHelp(_ entry: VerbEntry, _ width: Int) -> String {
        let declaration = entry.declaration
        let command = "\(name) \(entry.name)"
        let scope = UsageError.Scope(command: command, usage: declaration.usageWithOptions)
        var text = "\(scope.usageText)\n\n\(declaration.summary)\n"
        if let description = declaration.description { text += "\n\(description)\n" }
        if !entry.aliases.isEmpty {
            let names = (entry.aliases + [entry.name]).map { "\(name) \($0)" }
            text += "\nAliases:\n  \(names.joined(separator: ", "))\n"
        }
        if declaration.flags.contains(where: { !$0.hidden }) {
            text += "\nOptions:\n" + Self.flagTable(declaration.flags, width)
        }
        if !declaration.examples.isEmpty {
            text += "\nExamples:\n"
            for (position, example) in declaration.examples.enumerated() {
                if position > 0 { text += "\n" }
                text += "  # \(example.explanation)\n  \(example.command)\n"
            }
        }
        return text
    }

    /// The groups that have verbs.
    var shownGroups: [Group] { groups.filter { !members(of: $0).isEmpty } }

    /// The verbs below a group, by the name they have there.
    func members(of group: Group) -> [(name: String, entry: VerbEntry)] {
        verbs.compactMap { entry in
            let prefix = group.name + " "
            let names = [entry.name] + entry.aliases
            guard let name = names.first(where: { $0.hasPrefix(prefix) }),
                entry.declaration.section != .hidden
            else { return nil }
            return (String(name.dropFirst(prefix.count)), entry)
        }
    }

    private static func table(_ rows: [(name: String, summary: String)]) -> String {
        let column = max(11, rows.map { $0.name.count }.max() ?? 0)
        return rows.reduce(into: "") { text, row in
            text += "  \(row.name)\(String(repeating: " ", count: column - row.name.count)) \(row.summary)\n"
        }
    }

    private static func flagTable(_ flags: [Flag], _ width: Int) -> String {
        let shown = flags.filter { !$0.hidden }.sorted { $0.name < $1.name }
        let rows = shown.map { flag in
            let short = flag.short.map { "  -\($0), " } ?? "      "
            return (
                short + "--\(flag.name)" + (flag.shownValueName.map { " \($0)" } ?? ""), flag.helpWithDefault
            )
        }
        let column = (rows.map { $0.0.count }.max() ?? 0) + 3
        return rows.reduce(into: "") { text, row in
            text += row.0 + String(repeating: " ", count: column - row.0.count)
            text += wrap(row.1, width: width - 1 - column, indent: column) + "\n"
        }
    }

    /// Breaks lines at spaces; lines too long for that, and columns too narrow, stay as they are.
    private static func wrap(_ text: String, width: Int, indent: Int) -> String {
        guard width >= 24 else { return text }
        let margin = "\n" + String(repeating: " ", count: indent)
        var lines: [String] = []
        for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
            var line = ""
            for word in paragraph.split(separator: " ") {
                if !line.isEmpty, line.count + 1 + word.count > width {
                    lines.append(line)
                    line = ""
                }
                line += line.isEmpty ? String(word) : " \(word)"
            }
            lines.append(line)
        }
        return lines.joined(separator: margin)
    }
}

extension Flag {
    /// The help text with what the flag is when it is not given.
    var helpWithDefault: String {
        var text = help
        if let environment { text += " (env \(environment))" }
        if let defaultValue {
            text += kind == .string ? " (default \"\(defaultValue)\")" : " (default \(defaultValue))"
        }
        return text
    }
}
