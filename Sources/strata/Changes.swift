// SPDX-License-Identifier: Apache-2.0

import Format
import JSON
import LinuxSys
import Storage

/// Lists of changes, as `diff` and `layer changes` print them.
enum Changes {
    static func print(_ changes: [Change], format: String?) throws {
        if let format {
            let rows = changes.map { row($0, isExact: format == "json") }
            Console.output.write(try listing.text(rows, format: format))
            return
        }
        // Paths are bytes: what is not UTF-8 must come out as it is.
        var text: [UInt8] = []
        for change in changes {
            text += letter(change.kind).utf8
            text += " /".utf8
            text += change.path.bytes
            text.append(UInt8(ascii: "\n"))
        }
        Console.output.write(text)
    }

    /// - Parameter isExact: whether the path is to be as it is, control characters included. One that is no text, which JSON
    ///   cannot say, stays printable, and its bytes stand beside it in hexadecimal digits.
    private static func row(_ change: Change, isExact: Bool) -> JSON {
        let type = JSON.string(letter(change.kind))
        if !isExact { return ["Type": type, "Path": .string(change.path.description)] }
        let bytes = [UInt8(ascii: "/")] + change.path.bytes
        if let text = String(validating: bytes, as: UTF8.self) {
            return ["Type": type, "Path": .string(text)]
        }
        let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return ["Type": type, "Path": .string(change.path.description), "PathHex": .string(digits)]
    }

    private static func letter(_ kind: Change.Kind) -> String {
        switch kind {
        case .modified: "C"
        case .added: "A"
        case .deleted: "D"
        }
    }

    private static let listing = Listing(
        headers: [("Type", "CHANGE TYPE"), ("Path", "PATH")],
        shown: ["Type", "Path"],
        identity: "Path"
    )
}
