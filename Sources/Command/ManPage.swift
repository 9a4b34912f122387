// SPDX-License-Identifier: Apache-2.0

/// A manual page of section 1.
package struct ManPage: Sendable {
    /// What `man` is asked for: `strata-layer-mount`.
    package let name: String
    /// The page's source for `man`.
    package let text: String
}

extension Program {
    /// The page of the program and one for every verb that help lists.
    package func manualPages(version: String) -> [ManPage] {
        var pages = [ManPage(name: name, text: manual(.program, version: version))]
        for group in shownGroups where verbs.contains(where: { $0.name.hasPrefix(group.name + " ") }) {
            let text = manual(.group(group), version: version)
            pages.append(ManPage(name: "\(name)-\(group.name)", text: text))
        }
        for entry in listed {
            let text = manual(.verb(entry), version: version)
            pages.append(ManPage(name: pageName(entry.name), text: text))
        }
        return pages
    }

    package func manual(_ topic: Topic, version: String) -> String {
        var page = Roff()
        switch topic {
        case .program:
            page.title(name, version: "\(name) \(version)")
            page.section("NAME", ["\(name) - \(summary)"])
            page.synopsis(name, ["[OPTIONS] COMMAND [ARG...]"])
            page.commands(listed.map { ($0.name, $0.declaration.summary) })
            page.options("GLOBAL OPTIONS", flags)
            page.environment(flags)
            page.seeAlso(listed.map { pageName($0.name) })
        case .group(let group):
            page.title("\(name)-\(group.name)", version: "\(name) \(version)")
            page.section("NAME", ["\(name)-\(group.name) - \(group.summary)"])
            page.synopsis("\(name) \(group.name)", ["COMMAND"])
            page.commands(members(of: group).map { ($0.name, $0.entry.declaration.summary) })
            page.seeAlso([name] + members(of: group).map { pageName($0.entry.name) })
        case .verb(let entry):
            verbPage(entry, version, &page)
        }
        return page.text
    }

    private func verbPage(_ entry: VerbEntry, _ version: String, _ page: inout Roff) {
        let declaration = entry.declaration
        page.title(pageName(entry.name), version: "\(name) \(version)")
        page.section("NAME", ["\(pageName(entry.name)) - \(declaration.summary)"])
        page.synopsis("\(name) \(entry.name)", declaration.usageWithOptions)
        let paragraphs = [declaration.summary + "."] + (declaration.description.map { [$0] } ?? [])
        page.section("DESCRIPTION", paragraphs)
        if !entry.aliases.isEmpty {
            page.section("ALIASES", [entry.aliases.map { "\(name) \($0)" }.joined(separator: ", ")])
        }
        page.options("OPTIONS", declaration.flags)
        page.examples(declaration.examples)
        page.seeAlso([name])
    }

    /// The verbs that help lists, by name.
    var listed: [VerbEntry] {
        verbs.filter { $0.declaration.section != .hidden }.sorted { $0.name < $1.name }
    }

    private func pageName(_ verb: String) -> String {
        "\(name)-" + String(verb.map { $0 == " " ? "-" : $0 })
    }
}

/// Writes the `man` macros.
private struct Roff {
    private(set) var text = ""

    mutating func title(_ name: String, version: String) {
        text +=
            ".TH \"\(Self.escape(name.uppercased()))\" 1 \"\" \"\(Self.escape(version))\" \"User Commands\"\n"
    }

    mutating func section(_ title: String, _ paragraphs: [String]) {
        text += ".SH \(title)\n"
        for (position, paragraph) in paragraphs.enumerated() {
            if position > 0 { text += ".PP\n" }
            lines(paragraph)
        }
    }

    mutating func synopsis(_ command: String, _ forms: [String]) {
        text += ".SH SYNOPSIS\n"
        for (position, form) in forms.enumerated() {
            if position > 0 { text += ".br\n" }
            text += "\\fB\(Self.escape(command))\\fR"
            text += form.isEmpty ? "\n" : " \(Self.escape(form))\n"
        }
    }

    mutating func commands(_ rows: [(name: String, summary: String)]) {
        text += ".SH COMMANDS\n"
        for row in rows.sorted(by: { $0.name < $1.name }) {
            text += ".TP\n\\fB\(Self.escape(row.name))\\fR\n"
            lines(row.summary)
        }
    }

    mutating func options(_ title: String, _ flags: [Flag]) {
        let shown = flags.filter { !$0.hidden }.sorted { $0.name < $1.name }
        guard !shown.isEmpty else { return }
        text += ".SH \(title)\n"
        for flag in shown {
            text += ".TP\n"
            if let short = flag.short { text += "\\fB\\-\(short)\\fR, " }
            text += "\\fB\\-\\-\(Self.escape(flag.name))\\fR"
            if let value = flag.shownValueName { text += " \\fI\(Self.escape(value))\\fR" }
            text += "\n"
            lines(flag.helpWithDefault)
        }
    }

    mutating func environment(_ flags: [Flag]) {
        let named = flags.filter { $0.environment != nil }
        guard !named.isEmpty else { return }
        text += ".SH ENVIRONMENT\n"
        for flag in named {
            text +=
                ".TP\n\\fB\(Self.escape(flag.environment ?? ""))\\fR\nAs \\fB\\-\\-\(Self.escape(flag.name))\\fR.\n"
        }
    }

    mutating func examples(_ examples: [VerbDeclaration.Example]) {
        guard !examples.isEmpty else { return }
        text += ".SH EXAMPLES\n"
        for (position, example) in examples.enumerated() {
            if position > 0 { text += ".PP\n" }
            lines(example.explanation + ":")
            text += ".PP\n.RS 4\n.nf\n\(Self.line(example.command))\n.fi\n.RE\n"
        }
    }

    mutating func seeAlso(_ pages: [String]) {
        text += ".SH SEE ALSO\n"
        text += pages.map { "\\fB\(Self.escape($0))\\fR(1)" }.joined(separator: ",\n") + "\n"
    }

    /// Text whose line breaks are kept.
    private mutating func lines(_ paragraph: String) {
        let lines = paragraph.split(separator: "\n", omittingEmptySubsequences: false)
        for (position, line) in lines.enumerated() {
            if position > 0 { text += line.isEmpty ? "" : ".br\n" }
            text += line.isEmpty ? ".PP\n" : Self.line(String(line)) + "\n"
        }
    }

    /// A line that is not taken for a request.
    private static func line(_ text: String) -> String {
        (text.hasPrefix(".") || text.hasPrefix("'") ? "\\&" : "") + escape(text)
    }

    private static func escape(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "'": result += "\\(aq"
            case "\"": result += "\\(dq"
            case "`": result += "\\(ga"
            case "^": result += "\\(ha"
            case "~": result += "\\(ti"
            default: result.append(character)
            }
        }
    }
}
