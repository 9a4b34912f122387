// SPDX-License-Identifier: Apache-2.0

/// A command line that cannot be understood.
///
/// Its description is what the user sees, as Docker words it.
package struct UsageError: Error, Sendable, CustomStringConvertible {
    /// What the error is about: the command and its ways of use.
    struct Scope: Sendable {
        var command: String
        var usage: [String]
    }

    package let message: String
    let scope: Scope
    /// The exit status: 125 for a bad flag, 1 for bad arguments or an unknown verb.
    package let status: Int32

    init(_ message: String, scope: Scope, status: Int32) {
        self.message = message
        self.scope = scope
        self.status = status
    }

    package var description: String {
        var text = message + "\n\n"
        if !scope.usage.isEmpty { text += scope.usageText + "\n\n" }
        return text + "Run '\(scope.command) --help' for more information"
    }
}

extension UsageError.Scope {
    var usageText: String {
        var text = ""
        for (position, line) in usage.enumerated() {
            text += position == 0 ? "Usage:  " : "\n        "
            text += line.isEmpty ? command : "\(command) \(line)"
        }
        return text
    }
}
