// SPDX-License-Identifier: Apache-2.0

import Format

/// The present against an earlier report.
package struct Comparison: Sendable {
    package struct Row: Sendable {
        package var figure: Figure
        package var driver: String
        package var old: Distribution
        package var new: Distribution

        /// How much slower or faster the machine itself was, which says nothing on the driver; 1 for what is no time.
        var drift: ClosedRange<Double> = 1...1

        package var ratio: Double { Double(new.median) / Double(max(1, old.median)) }

        /// Whether it is worse by more than 5 %, not by chance, and not as the machine itself is.
        package var isRegression: Bool {
            ratio > 1.05 * drift.upperBound && !isChance
        }
        package var isGain: Bool { ratio < drift.lowerBound / 1.05 && !isChance }
        private var isChance: Bool { new.isWithinNoise(of: old, few: figure.spread) }
    }

    /// What a yardstick shows now as a part of what it showed then.
    private struct Drift {
        var yardstick: Yardstick
        var ratio: Double
    }

    package let rows: [Row]
    /// Why the two may not be comparable, a line each.
    package let warnings: [String]

    package init(_ new: Report, with old: Report) {
        let drifts = Self.drifts(new, old)
        let ratios = drifts.map(\.ratio) + [1]
        let drift = (ratios.min() ?? 1)...(ratios.max() ?? 1)
        rows = new.figures.flatMap { figure in
            new.subjects.compactMap { subject in
                guard let now = new.distribution(figure, subject.driver),
                    let before = old.distribution(figure, subject.driver)
                else { return nil }
                var row = Row(figure: figure, driver: subject.driver, old: before, new: now)
                if figure.unit == .nanoseconds { row.drift = drift }
                return row
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
            + (drifts.isEmpty ? [] : [Self.warning(drifts)])
            + (old.yardsticks.isEmpty ? [Self.lacksYardsticks] : [])
            + (rows.isEmpty ? ["nothing was measured both then and now"] : [])
    }

    /// Of the yardsticks that differ by more than chance.
    private static func drifts(_ new: Report, _ old: Report) -> [Drift] {
        Yardstick.allCases.compactMap { yardstick in
            guard let now = Distribution(new.yardsticks[yardstick] ?? []),
                let before = Distribution(old.yardsticks[yardstick] ?? []), !now.isWithinNoise(of: before)
            else { return nil }
            return Drift(yardstick: yardstick, ratio: Double(now.median) / Double(max(1, before.median)))
        }
    }

    private static let lacksYardsticks =
        "the earlier result does not say how fast the machine was then: whether it, or a driver, became faster is not known"

    private static func warning(_ drifts: [Drift]) -> String {
        let parts = drifts.map { "\(Decimals.fixed($0.ratio, places: 2)) of then for \($0.yardstick.title)" }
        return "the machine itself, without any driver, took \(parts.joined(separator: ", ")): "
            + "times that changed no more than that are not counted"
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
