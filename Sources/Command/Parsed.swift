// SPDX-License-Identifier: Apache-2.0

/// A command line that was understood.
///
/// Values were checked against their flag's kind when they were read. Asking for a flag that is not declared is a
/// mistake of the program and traps.
package struct Parsed: Sendable {
    /// The arguments, as they were given.
    package let words: [Word]
    let values: [FlagValue]
    private let flags: [Flag]
    private let globalValues: [FlagValue]
    private let globalFlags: [Flag]

    init(
        words: [Word],
        values: [FlagValue],
        flags: [Flag],
        globalValues: [FlagValue],
        globalFlags: [Flag]
    ) {
        self.words = words
        self.values = values
        self.flags = flags
        self.globalValues = globalValues
        self.globalFlags = globalFlags
    }

    /// The arguments as text.
    package var arguments: [String] { words.map(\.text) }

    /// The flags given before the verb.
    package var globals: Parsed {
        Parsed(words: [], values: globalValues, flags: globalFlags, globalValues: [], globalFlags: [])
    }

    /// Whether the verb has such a flag.
    package func declares(_ name: String) -> Bool { flags.contains { $0.name == name } }

    /// Whether the flag was given, with any value, or its environment variable is set.
    package func isSet(_ name: String) -> Bool { !given(name).isEmpty }

    /// The value of a `.bool` flag.
    package func flag(_ name: String) -> Bool {
        text(name, .bool).flatMap { try? Quantity.bool($0) } ?? false
    }

    /// The last value given, or the default.
    package func string(_ name: String) -> String? { word(name)?.text }

    /// As `string`, for values that may be paths: the bytes as they were given.
    package func word(_ name: String) -> Word? {
        given(name).last ?? declaration(name).defaultValue.map { Word($0) }
    }

    /// All values given, in order.
    package func list(_ name: String) -> [String] { given(name).map(\.text) }

    /// As `list`, for values that may be paths.
    package func wordList(_ name: String) -> [Word] { given(name) }

    package func int(_ name: String) -> Int64? { text(name, .int).flatMap { try? Quantity.integer($0) } }

    package func bytes(_ name: String) -> Int64? { text(name, .bytes).flatMap { try? Quantity.bytes($0) } }

    /// The value of a `.decimal` flag in billionths.
    package func nanos(_ name: String) -> Int64? { text(name, .decimal).flatMap { try? Quantity.nanos($0) } }

    package func duration(_ name: String) -> Duration? {
        text(name, .duration).flatMap { try? Quantity.duration($0) }
    }

    /// The values of a `.pairs` flag (or of a list of `KEY=VALUE`), in order, keys as often as they were given.
    package func pairs(_ name: String) -> [(key: String, value: String)] {
        given(name).map { word in
            let parts = word.bytes.split(
                separator: UInt8(ascii: "="),
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            return (Word(Array(parts[0])).text, parts.count == 2 ? Word(Array(parts[1])).text : "")
        }
    }

    private func text(_ name: String, _ kind: Flag.Kind) -> String? {
        precondition(declaration(name).kind == kind, "--\(name) is asked for as another kind than declared")
        return string(name)
    }

    private func given(_ name: String) -> [Word] {
        let index = index(of: name)
        return values.lazy.filter { $0.flag == index }.map(\.word)
    }

    private func declaration(_ name: String) -> Flag { flags[index(of: name)] }

    private func index(of name: String) -> Int {
        guard let index = flags.firstIndex(where: { $0.name == name }) else {
            preconditionFailure("--\(name) is not declared")
        }
        return index
    }
}
