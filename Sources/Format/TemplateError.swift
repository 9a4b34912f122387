// SPDX-License-Identifier: Apache-2.0

/// A template that cannot be read, or that asks a value for what it does not have; worded as Docker does.
package struct TemplateError: Error, Hashable, Sendable, CustomStringConvertible {
    package let message: String

    package init(message: String) { self.message = message }

    package var description: String { "template parsing error: template: \(message)" }

    static func parsing(line: Int, _ message: String) -> TemplateError {
        TemplateError(message: ":\(line): \(message)")
    }

    static func executing(_ place: Place, _ message: String) -> TemplateError {
        TemplateError(
            message: ":\(place.line):\(place.column): executing \"\" at <\(place.text)>: \(message)"
        )
    }
}

/// Where a part of a template stands, for error messages.
struct Place: Sendable {
    let line: Int
    let column: Int
    let text: String
}
