// SPDX-License-Identifier: Apache-2.0

import Format

extension Figure {
    /// How much is done each time it is measured; `nil` where that is one thing, or what the image has.
    func amount(_ workload: Workload) -> String? {
        func count(_ number: Int, _ what: String) -> String { "\(Human.grouped(number)) \(what)" }
        return switch name {
        case "run-many": count(workload.containers, "containers")
        case "diff", "commit", "rm": count(workload.changes, "changes")
        case "create", "stat", "readdir", "read", "rename", "unlink": count(workload.files, "files")
        case "copy-up", "unlink-lower": count(workload.lowerFiles, "files")
        case "write", "write-cold", "read-cold", "read-warm": Human.binarySize(Int64(workload.largeBytes))
        case "random-read", "random-write": count(workload.operations, "times")
        case "random-read-cold", "random-write-cold": count(workload.cold, "times")
        case "write-sync": count(workload.synced, "times")
        default: nil
        }
    }
}

extension Report {
    /// The title of a figure, with how much was done, where that is known.
    func title(_ figure: Figure) -> String {
        let amount = isQuick.flatMap { figure.amount($0 ? .quick : .whole) }
        return figure.title + (amount.map { " (\($0))" } ?? "")
    }
}
