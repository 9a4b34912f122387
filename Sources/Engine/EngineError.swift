// SPDX-License-Identifier: Apache-2.0

/// A failure of a command on containers or images, in one line as the user reads it.
package struct EngineError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable {
        /// What the user gave cannot be.
        case usage
        case notFound
        /// A name that is taken, a thing in use or in the wrong state.
        case conflict
        case unsupported
        case interrupted
        case failed
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
