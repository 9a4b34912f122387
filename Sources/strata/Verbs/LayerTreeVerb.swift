// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LayerDiff
import LayerStore

enum LayerTreeVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show layers with what stands on them",
        usage: ["[LAYER]"],
        arguments: .atMost(1),
        completes: [.layer]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let rows = try engine.layers.layers()
        let children = Dictionary(grouping: rows, by: \.parent)
        let tops =
            try parsed.arguments.first.map { [try engine.layers.layer(try engine.layerID($0))] }
            ?? children[nil] ?? []
        // Not recursive: a chain may be 400 layers deep.
        var pending = tops.reversed().map { (row: $0, depth: 0) }
        while let (row, depth) = pending.popLast() {
            let digest = row.diffID.map { " \($0.hex.prefix(12))" } ?? ""
            let indent = String(repeating: "  ", count: depth)
            Console.output.write("\(indent)\(row.id) \(row.driver) \(row.kind.rawValue)\(digest)\n")
            for child in (children[row.id] ?? []).reversed() { pending.append((child, depth + 1)) }
        }
        return 0
    }
}
