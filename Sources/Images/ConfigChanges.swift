// SPDX-License-Identifier: Apache-2.0

package import JSON
package import Storage

/// The Dockerfile instructions that `commit --change` and `import --change` take.
package struct ConfigChanges: Sendable {
    private let instructions: [Instruction]

    private enum Instruction: Sendable {
        case command([String]?, shell: String)
        case entrypoint([String]?, shell: String)
        case environment(String)
        case expose(String)
        case label(String)
        case onBuild(String)
        case stopSignal(String)
        case user(String)
        case volume(String)
        case workingDirectory(String)
    }

    /// Fails with `.invalid`, naming the instruction, for any it does not know.
    package init(_ lines: [String]) throws(StorageError) {
        var instructions: [Instruction] = []
        for line in lines {
            let text = Self.trimmed(line)
            let name = text.prefix { !$0.isWhitespace }
            let rest = Self.trimmed(text.dropFirst(name.count))
            guard !rest.isEmpty || name.uppercased() == "CMD" || name.uppercased() == "ENTRYPOINT" else {
                throw StorageError(.invalid, "--change \(line.debugDescription): \(name) needs an argument")
            }
            instructions.append(try Self.instruction(name.uppercased(), rest, line: line))
        }
        self.instructions = instructions
    }

    private static func instruction(
        _ name: String,
        _ rest: String,
        line: String
    ) throws(StorageError) -> Instruction {
        switch name {
        case "CMD": return .command(list(rest), shell: rest)
        case "ENTRYPOINT": return .entrypoint(list(rest), shell: rest)
        case "ENV": return .environment(rest)
        case "EXPOSE": return .expose(rest)
        case "LABEL": return .label(rest)
        case "STOPSIGNAL": return .stopSignal(rest)
        case "USER": return .user(rest)
        case "VOLUME": return .volume(rest)
        case "WORKDIR": return .workingDirectory(rest)
        case "ONBUILD":
            let trigger = rest.prefix { !$0.isWhitespace }.uppercased()
            if ["ONBUILD", "FROM", "MAINTAINER"].contains(trigger) {
                throw StorageError(
                    .invalid,
                    "--change \(line.debugDescription): \(trigger) isn't allowed as an ONBUILD trigger"
                )
            }
            return .onBuild(rest)
        default:
            throw StorageError(
                .invalid,
                "--change \(line.debugDescription): \(name) is not a valid change command",
                remedy:
                    "use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR"
            )
        }
    }

    /// Applies the instructions in their order to the `config` of an image.
    package func apply(to process: inout JSONObject) throws(StorageError) {
        var isCommandSet = false
        for instruction in instructions {
            switch instruction {
            case .command(let arguments, let shell):
                process["Cmd"] = .strings(Self.arguments(arguments, shell, process))
                isCommandSet = true
            case .entrypoint(let arguments, let shell):
                process["Entrypoint"] = .strings(Self.arguments(arguments, shell, process))
                // The old command was made for the old entry point.
                if !isCommandSet { process["Cmd"] = nil }
            case .environment(let text): try Self.setEnvironment(text, &process)
            case .expose(let text): try Self.expose(text, &process)
            case .label(let text):
                var labels = process["Labels"]?.object ?? JSONObject()
                for (key, value) in try Self.pairs(text, "LABEL", process) { labels[key] = .string(value) }
                process["Labels"] = .object(labels)
            case .onBuild(let text):
                process["OnBuild"] = .strings((process["OnBuild"]?.strings ?? []) + [text])
            case .stopSignal(let text):
                process["StopSignal"] = .string(try ShellWords.expand(text, Self.environment(process)))
            case .user(let text):
                process["User"] = .string(try ShellWords.expand(text, Self.environment(process)))
            case .volume(let text):
                var volumes = process["Volumes"]?.object ?? JSONObject()
                var paths = Self.list(text)
                if paths == nil { paths = try Self.words(text, process) }
                for path in paths ?? [] where !path.isEmpty { volumes[path] = [:] }
                process["Volumes"] = .object(volumes)
            case .workingDirectory(let text):
                let path = try ShellWords.expand(text, Self.environment(process))
                let now = process["WorkingDir"]?.string ?? ""
                process["WorkingDir"] = .string("/" + TarContents.key(path, relativeTo: now))
            }
        }
    }

    /// The exec form as it is; the shell form through the image's shell.
    private static func arguments(_ list: [String]?, _ shell: String, _ process: JSONObject) -> [String] {
        if let list { return list }
        if shell.isEmpty { return [] }
        let program = process["Shell"]?.strings ?? ["/bin/sh", "-c"]
        return program + [shell]
    }

    /// `["a", "b"]`; `nil` if the text is no JSON array of strings.
    private static func list(_ text: String) -> [String]? {
        guard text.hasPrefix("[") else { return nil }
        return (try? JSON.parse(Array(text.utf8), limits: JSONLimits(size: 1 << 20, depth: 4)))?.strings
    }

    private static func setEnvironment(_ text: String, _ process: inout JSONObject) throws(StorageError) {
        var environment = process["Env"]?.strings ?? []
        for (key, value) in try pairs(text, "ENV", process) {
            guard !key.isEmpty else { throw StorageError(.invalid, "--change: ENV names can not be blank") }
            let line = "\(key)=\(value)"
            if let known = environment.firstIndex(where: { $0.prefix { $0 != "=" } == key }) {
                environment[known] = line
            } else {
                environment.append(line)
            }
        }
        process["Env"] = .strings(environment)
    }

    /// `80`, `80/udp`, `8000-8010/tcp`, several of them.
    private static func expose(_ text: String, _ process: inout JSONObject) throws(StorageError) {
        var ports = process["ExposedPorts"]?.object ?? JSONObject()
        for word in try words(text, process) {
            let parts = word.split(separator: "/", omittingEmptySubsequences: false)
            let range = parts[0].split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
            let kind = parts.count > 1 ? parts[1].lowercased() : "tcp"
            guard parts.count <= 2, ["tcp", "udp", "sctp"].contains(kind), (1...2).contains(range.count),
                let first = range.first.flatMap(\.self), let last = range.last.flatMap(\.self), first <= last
            else {
                throw StorageError(
                    .invalid,
                    "--change: EXPOSE \(word): not a port, as in 80, 53/udp or 8000-8010/tcp"
                )
            }
            for port in first...last { ports["\(port)/\(kind)"] = [:] }
        }
        process["ExposedPorts"] = .object(ports)
    }

    /// `K=V K2="V 2"`, or the old form `K the rest`.
    private static func pairs(
        _ text: String,
        _ name: String,
        _ process: JSONObject
    ) throws(StorageError) -> [(String, String)] {
        let first = text.prefix { !$0.isWhitespace }
        if !first.contains("=") {
            let rest = trimmed(text.dropFirst(first.count))
            guard !rest.isEmpty else {
                throw StorageError(.invalid, "--change: \(name) \(text): it needs a value")
            }
            return [(String(first), try ShellWords.expand(rest, environment(process)))]
        }
        var pairs: [(String, String)] = []
        for word in try words(text, process) {
            guard let equals = word.firstIndex(of: "=") else {
                throw StorageError(
                    .invalid,
                    "--change: \(name) \(text): \(word.debugDescription) is not of the form name=value"
                )
            }
            pairs.append((String(word[..<equals]), String(word[word.index(after: equals)...])))
        }
        return pairs
    }

    private static func words(_ text: String, _ process: JSONObject) throws(StorageError) -> [String] {
        try ShellWords.split(text, environment(process))
    }

    private static func environment(_ process: JSONObject) -> [String: String] {
        var values: [String: String] = [:]
        for line in process["Env"]?.strings ?? [] {
            guard let equals = line.firstIndex(of: "=") else { continue }
            values[String(line[..<equals])] = String(line[line.index(after: equals)...])
        }
        return values
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0.isWhitespace }
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...end])
    }
}

/// Words as a Dockerfile has them: quotes, backslashes, `$NAME`, `${NAME}`, `${NAME:-word}` and
/// `${NAME:+word}`.
enum ShellWords {
    static func split(_ text: String, _ environment: [String: String]) throws(StorageError) -> [String] {
        var lexer = Lexer(rest: text[...], environment: environment)
        var words: [String] = []
        while let word = try lexer.word(endsAtSpace: true) { words.append(word) }
        return words
    }

    /// The whole text as one word.
    static func expand(_ text: String, _ environment: [String: String]) throws(StorageError) -> String {
        var lexer = Lexer(rest: text[...], environment: environment)
        return try lexer.word(endsAtSpace: false) ?? ""
    }

    private struct Lexer {
        var rest: Substring
        let environment: [String: String]

        mutating func word(endsAtSpace: Bool) throws(StorageError) -> String? {
            if endsAtSpace { rest = rest.drop { $0.isWhitespace } }
            if rest.isEmpty { return nil }
            var word = ""
            while let character = rest.first {
                if endsAtSpace, character.isWhitespace { break }
                rest.removeFirst()
                switch character {
                case "\\": if let next = rest.popFirst() { word.append(next) }
                case "'":
                    while let next = try quoted("'") { word.append(next) }
                case "\"": word += try doubleQuoted()
                case "$": word += try variable()
                default: word.append(character)
                }
            }
            return word
        }

        /// The next character of a quoted part; `nil` at its end.
        private mutating func quoted(_ end: Character) throws(StorageError) -> Character? {
            guard let next = rest.popFirst() else {
                throw StorageError(
                    .invalid,
                    "--change: unexpected end of statement while looking for matching \(end)"
                )
            }
            return next == end ? nil : next
        }

        private mutating func doubleQuoted() throws(StorageError) -> String {
            var text = ""
            while let next = try quoted("\"") {
                switch next {
                case "$": text += try variable()
                case "\\":
                    guard let escaped = rest.popFirst() else { break }
                    if escaped != "\"" && escaped != "$" && escaped != "\\" { text.append("\\") }
                    text.append(escaped)
                default: text.append(next)
                }
            }
            return text
        }

        private mutating func variable() throws(StorageError) -> String {
            guard rest.first == "{" else {
                let name = takeName()
                return name.isEmpty ? "$" : environment[name] ?? ""
            }
            rest.removeFirst()
            let name = takeName()
            var body = ""
            while let next = try quoted("}") { body.append(next) }
            let value = environment[name] ?? ""
            if name.isEmpty { throw StorageError(.invalid, "--change: bad substitution ${\(body)}") }
            if body.isEmpty { return value }
            if body.hasPrefix(":-") { return value.isEmpty ? String(body.dropFirst(2)) : value }
            if body.hasPrefix(":+") { return value.isEmpty ? "" : String(body.dropFirst(2)) }
            throw StorageError(.invalid, "--change: unsupported modifier in ${\(name)\(body)}")
        }

        private mutating func takeName() -> String {
            var name = ""
            while let next = rest.first, next.isASCII,
                next == "_" || next.isLetter || (next.isNumber && !name.isEmpty)
            {
                name.append(next)
                rest.removeFirst()
            }
            return name
        }
    }
}
