// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A word of a command line.
///
/// Words are bytes: a path in one need not be UTF-8.
package struct Word: Hashable, Sendable, ExpressibleByStringLiteral {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package init(_ text: String) { bytes = Array(text.utf8) }
    package init(stringLiteral value: String) { self.init(value) }

    /// The word as text; what is not UTF-8 in it is replaced.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The words this process was started with, the program's name left out.
    package static func ofThisProcess() -> [Word] {
        var words: [Word] = []
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let word = CommandLine.unsafeArgv[index] else { break }
            words.append(Word(Array(UnsafeRawBufferPointer(start: word, count: strlen(word)))))
        }
        return words
    }

    /// The value of an environment variable, unless it is empty.
    static func environment(_ name: String) -> Word? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return Word(Array(UnsafeRawBufferPointer(start: value, count: strlen(value))))
    }
}
