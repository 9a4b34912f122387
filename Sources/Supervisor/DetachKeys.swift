// SPDX-License-Identifier: Apache-2.0

/// The keys that leave an attached container running: `ctrl-p,ctrl-q` unless told otherwise.
package struct DetachKeys: Sendable {
    package static let standard = DetachKeys(sequence: [0x10, 0x11])

    private let sequence: [UInt8]
    /// How many keys of the sequence have been typed; they are passed on if another follows.
    private var matched = 0

    private init(sequence: [UInt8]) {
        self.sequence = sequence
    }

    /// Reads Docker's form: characters and `ctrl-X` (a letter, `@`, `[`, `\`, `]`, `^`, `_`), parted by
    /// commas; `nil` for anything else.
    ///
    /// An empty text has no keys.
    package init?(_ text: String) {
        var keys: [UInt8] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) where !text.isEmpty {
            let bytes = Array(part.utf8)
            if bytes.count == 1, bytes[0] < 0x80 {
                keys.append(bytes[0])
            } else if bytes.count == 6, part.lowercased().hasPrefix("ctrl-") {
                let key = bytes[5] & ~0x20
                let letter = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(key) ? key : bytes[5]
                guard (UInt8(ascii: "@")...UInt8(ascii: "_")).contains(letter) else { return nil }
                keys.append(letter - 0x40)
            } else {
                return nil
            }
        }
        sequence = keys
    }

    /// Looks for the sequence in what has been typed.
    ///
    /// - Returns: the bytes to pass on, and whether the sequence is complete: what follows it is dropped.
    package mutating func filter(_ typed: some Sequence<UInt8>) -> (bytes: [UInt8], detached: Bool) {
        if sequence.isEmpty { return (Array(typed), false) }
        var passed: [UInt8] = []
        for byte in typed {
            while byte != sequence[matched], matched > 0 { fallBack(&passed) }
            if byte != sequence[matched] {
                passed.append(byte)
            } else if matched + 1 == sequence.count {
                matched = 0
                return (passed, true)
            } else {
                matched += 1
            }
        }
        return (passed, false)
    }

    /// Passes on the first of the matched keys and keeps as many of the others as begin the sequence anew.
    private mutating func fallBack(_ passed: inout [UInt8]) {
        let typed = sequence[..<matched]
        repeat {
            passed.append(sequence[typed.count - matched])
            matched -= 1
        } while !typed.suffix(matched).elementsEqual(sequence[..<matched])
    }
}
