// SPDX-License-Identifier: Apache-2.0

/// Sorts words into flags and arguments by the rules of Docker's command line (pflag).
struct FlagParser {
    let flags: [Flag]
    let interspersed: Bool
    let scope: UsageError.Scope
    private(set) var values: [FlagValue] = []
    private(set) var positionals: [Word] = []
    private(set) var helpWanted = false

    init(flags: [Flag], interspersed: Bool, scope: UsageError.Scope) {
        self.flags = flags
        self.interspersed = interspersed
        self.scope = scope
    }

    mutating func parse(_ words: ArraySlice<Word>) throws(UsageError) {
        var rest = words
        while let word = rest.popFirst() {
            let bytes = word.bytes
            if bytes.count < 2 || bytes[0] != UInt8(ascii: "-") {
                positionals.append(word)
                if interspersed { continue }
                break
            }
            if bytes[1] != UInt8(ascii: "-") {
                try shorthands(bytes, &rest)
            } else if bytes.count == 2 {
                break
            } else {
                try long(bytes, &rest)
            }
            if helpWanted { return }
        }
        positionals.append(contentsOf: rest)
        for (index, flag) in flags.enumerated() {
            guard let name = flag.environment, let word = Word.environment(name),
                !values.contains(where: { $0.flag == index })
            else { continue }
            try add(index, word, from: "environment variable \(name)")
        }
    }

    func parsed(globals: [FlagValue] = [], globalFlags: [Flag] = []) -> Parsed {
        Parsed(
            words: positionals,
            values: values,
            flags: flags,
            globalValues: globals,
            globalFlags: globalFlags
        )
    }

    /// `--name`, `--name=value`, `--name value`.
    private mutating func long(_ bytes: [UInt8], _ rest: inout ArraySlice<Word>) throws(UsageError) {
        let body = bytes.dropFirst(2)
        let equals = body.firstIndex(of: UInt8(ascii: "="))
        let name = String(decoding: body[..<(equals ?? body.endIndex)], as: UTF8.self)
        guard !name.isEmpty, !name.hasPrefix("-") else {
            throw error("bad flag syntax: \(Word(bytes).text)")
        }
        guard let index = flags.firstIndex(where: { $0.name == name }) else {
            if name == "help" {
                helpWanted = true
                return
            }
            throw error("unknown flag: --\(name)")
        }
        if let equals {
            try add(index, Word(Array(body[(equals + 1)...])))
        } else if flags[index].kind == .bool {
            try add(index, "true")
        } else if let next = rest.popFirst() {
            try add(index, next)
        } else {
            throw error("flag needs an argument: --\(name)")
        }
    }

    /// `-i`, `-itd`, `-m512m`, `-m=512m`, `-m 512m`, `-itm 512m`.
    private mutating func shorthands(_ bytes: [UInt8], _ rest: inout ArraySlice<Word>) throws(UsageError) {
        var position = 1
        while position < bytes.count {
            let letter = Unicode.Scalar(bytes[position])
            guard let index = flags.firstIndex(where: { $0.short == letter }) else {
                if letter == "h" {
                    helpWanted = true
                    return
                }
                throw error("unknown shorthand flag: '\(letter)' in \(Word(bytes).text)")
            }
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "="), position + 1 < bytes.count {
                return try add(index, Word(Array(bytes[(position + 1)...])))
            }
            if flags[index].kind == .bool {
                try add(index, "true")
            } else if position < bytes.count {
                return try add(index, Word(Array(bytes[position...])))
            } else if let next = rest.popFirst() {
                return try add(index, next)
            } else {
                throw error("flag needs an argument: '\(letter)' in \(Word(bytes).text)")
            }
        }
    }

    private mutating func add(_ index: Int, _ word: Word, from source: String? = nil) throws(UsageError) {
        let flag = flags[index]
        if let objection = flag.objection(to: word.text) {
            let place = source ?? "\"\(flag.shownName)\" flag"
            throw error("invalid argument \"\(word.text)\" for \(place): \(objection)")
        }
        values.append(FlagValue(flag: index, word: word))
    }

    private func error(_ message: String) -> UsageError { UsageError(message, scope: scope, status: 125) }
}

/// A flag that was given.
struct FlagValue: Sendable {
    /// Position in the list of flags.
    let flag: Int
    let word: Word
}
