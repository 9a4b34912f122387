// SPDX-License-Identifier: Apache-2.0

import Format
import JSON
import LinuxSys
import Storage

/// Lists of changes, as `diff` and `layer changes` print them.
enum Changes {
    static func print(_ changes: [Change], format: String?) throws {
        if let format {
            let rows = changes.map { change -> JSON in
                ["Type": .string(letter(change.kind)), "Path": .string(change.path.description)]
            }
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
