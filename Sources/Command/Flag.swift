// SPDX-License-Identifier: Apache-2.0

/// One flag of a verb or of the program, as help, parser, completions and manual see it.
package struct Flag: Sendable {
    /// What a flag takes, which decides how its value is checked.
    package enum Kind: Sendable {
        /// Takes a value only after `=`: `--rm`, `--rm=false`.
        case bool
        case string
        /// A 64-bit integer.
        case int
        /// A count of bytes with Docker's units: `512m`, `1.5g`.
        case bytes
        /// A number with up to nine decimals: `1.5`.
        case decimal
        /// `90s`, `1h30m`.
        case duration
        /// A string that may be given repeatedly.
        case list
        /// `KEY=VALUE`, repeatedly.
        case pairs
    }

    package let name: String
    package let short: Unicode.Scalar?
    package let kind: Kind
    package let help: String
    /// Overrides what help calls the value.
    package let valueName: String?
    package let defaultValue: String?
    /// The environment variable that speaks when the flag is not given.
    package let environment: String?
    /// The values it may have; the parser refuses others.
    package let values: [String]
    package let completes: Completion
    package let hidden: Bool

    package init(
        _ name: String,
        _ short: Unicode.Scalar?,
        _ kind: Kind,
        _ help: String,
        valueName: String? = nil,
        defaultValue: String? = nil,
        environment: String? = nil,
        values: [String] = [],
        completes: Completion = .nothing,
        hidden: Bool = false
    ) {
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.valueName = valueName
        self.defaultValue = defaultValue
        self.environment = environment
        self.values = values
        self.completes = completes
        self.hidden = hidden
    }

    /// A flag without shorthand.
    package init(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        valueName: String? = nil,
        defaultValue: String? = nil,
        environment: String? = nil,
        values: [String] = [],
        completes: Completion = .nothing,
        hidden: Bool = false
    ) {
        self.init(
            name,
            nil,
            kind,
            help,
            valueName: valueName,
            defaultValue: defaultValue,
            environment: environment,
            values: values,
            completes: completes,
            hidden: hidden
        )
    }
}

/// What the shell may offer for a word.
package enum Completion: String, Sendable {
    case nothing
    case file
    case directory
    case container
    case runningContainer
    case image
    case containerOrImage
    case layer
    case driver
    case verb
    case shell
}

extension Flag {
    /// What help shows behind the name; `nil` where there is no value.
    var shownValueName: String? {
        if let valueName { return valueName }
        return switch kind {
        case .bool: nil
        case .string: "string"
        case .int: "int"
        case .bytes: "bytes"
        case .decimal: "decimal"
        case .duration: "duration"
        case .list: "list"
        case .pairs: "map"
        }
    }

    /// Name and shorthand as error messages show them: `-m, --memory`.
    var shownName: String { short.map { "-\($0), --\(name)" } ?? "--\(name)" }

    /// Why `text` is no value for this flag; `nil` if it is one.
    func objection(to text: String) -> String? {
        if !values.isEmpty, !values.contains(text) {
            return "must be one of \(values.joined(separator: ", "))"
        }
        do {
            switch kind {
            case .string, .list: break
            case .bool: _ = try Quantity.bool(text)
            case .int: _ = try Quantity.integer(text)
            case .bytes: _ = try Quantity.bytes(text)
            case .decimal: _ = try Quantity.nanos(text)
            case .duration: _ = try Quantity.duration(text)
            case .pairs:
                guard let first = text.utf8.first, first != UInt8(ascii: "="),
                    text.utf8.contains(UInt8(ascii: "="))
                else { return "must be KEY=VALUE" }
            }
            return nil
        } catch {
            return error.reason
        }
    }
}
