// SPDX-License-Identifier: Apache-2.0

import Format

/// The present against an earlier report.
package struct Comparison: Sendable {
    package struct Row: Sendable {
        package var figure: Figure
        package var driver: String
        package var old: Distribution
        package var new: Distribution

        package var ratio: Double { Double(new.median) / Double(max(1, old.median)) }

        /// Whether it is worse by more than 5 % and not by chance.
        package var isRegression: Bool { ratio > 1.05 && !new.isWithinNoise(of: old) }
        package var isGain: Bool { ratio < 1 / 1.05 && !new.isWithinNoise(of: old) }
    }

    package let rows: [Row]
    /// Why the two may not be comparable, a line each.
    package let warnings: [String]

    package init(_ new: Report, with old: Report) {
        rows = new.figures.flatMap { figure in
            new.subjects.compactMap { subject in
                guard let now = new.distribution(figure, subject.driver),
                    let before = old.distribution(figure, subject.driver)
                else { return nil }
                return Row(figure: figure, driver: subject.driver, old: before, new: now)
            }
        }
        let pairs = [
            ("kernel", old.machine.kernel, new.machine.kernel),
            ("processor", old.machine.processor, new.machine.processor),
            ("number of processors", "\(old.machine.processors)", "\(new.machine.processors)"),
            ("file system", old.machine.fileSystem, new.machine.fileSystem), ("image", old.image, new.image),
        ]
        let measured = Set(rows.map(\.driver))
        let lost = new.failures.filter { failure in
            !measured.contains(failure.driver) && old.subjects.contains { $0.driver == failure.driver }
        }
        warnings =
            pairs.filter { $0.1 != $0.2 }.map { "another \($0.0): \($0.1) then, \($0.2) now" }
            + lost.map { "\($0.driver) was measured then and is not now: \($0.reason)" }
            + (rows.isEmpty ? ["nothing was measured both then and now"] : [])
    }

    package var hasRegression: Bool { rows.contains(where: \.isRegression) }

    package var table: String {
        let head = [["FIGURE", "DRIVER", "THEN", "NOW", "RATIO", "VERDICT"]]
        let lines = rows.map { row in
            [
                row.figure.name, row.driver, row.figure.unit.text(row.old.median),
                row.figure.unit.text(row.new.median),
                Decimals.fixed(row.ratio, places: 2),
                row.isRegression ? "WORSE" : row.isGain ? "better" : "as before",
            ]
        }
        let table = Columns.align((head + lines).map { $0.joined(separator: "\t") }.joined(separator: "\n"))
        return warnings.map { "WARNING: \($0)\n" }.joined() + table + "\n"
    }
}
