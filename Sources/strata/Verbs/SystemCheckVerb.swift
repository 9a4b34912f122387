// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images
import LayerStore
import Storage

enum SystemCheckVerb: Verb {
    static let declaration = VerbDeclaration(
        "Verify the store: its rows, layers and images",
        flags: [
            Flag("repair", .bool, "Repair what can be repaired from stored blobs")
        ],
        examples: [.init("strata system check --repair", "Verify everything and repair what is broken")]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let engine = try parsed.engine(.write)
        let findings = try engine.check(isRepairing: parsed.flag("repair"))
        for finding in findings.layers {
            let layer = finding.layer.map { " layer \($0)" } ?? ""
            let what = "\(finding.driver)\(layer): \(finding.problem.rawValue): \(finding.detail)"
            report(what, isRepaired: finding.isRepaired)
        }
        for problem in findings.images { report(problem.description, isRepaired: problem.isRepaired) }
        let left = findings.problemCount
        if left == 0 {
            Console.output.write(
                "\(try engine.layers.layers().count) layers checked, nothing is damaged\n"
            )
            return 0
        }
        Console.errors.write(
            "strata: \(left) problems found" + (parsed.flag("repair") ? "\n" : "; try --repair\n")
        )
        return 1
    }

    private static func report(_ what: String, isRepaired: Bool) {
        Console.output.write("\(what)\(isRepaired ? " (repaired)" : "")\n")
    }
}
