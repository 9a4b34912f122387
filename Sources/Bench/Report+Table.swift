// SPDX-License-Identifier: Apache-2.0

import Format
import LinuxSys

/// The form for people at a terminal.
extension Report {
    /// One table a group, a column a driver: medians, the best with `*`, what may be as good with `~`.
    package var table: String {
        var text = head
        for group in Figure.Group.allCases {
            let figures = figures.filter { $0.group == group }
            if figures.isEmpty { continue }
            let names = subjects.map { $0.driver.uppercased() }
            let rows = figures.map(row)
            let lines = ([[group.title.uppercased()] + names] + rows).map { $0.joined(separator: "\t") }
            text += "\n" + Columns.align(lines.joined(separator: "\n")) + "\n"
        }
        if !figures.isEmpty {
            text +=
                "\nMedians; less is better. * best, ~ not surely worse than the best (within the noise).\n"
        }
        return text + tail
    }

    /// One table with all that was measured.
    package var longTable: String {
        var lines = [["FIGURE", "DRIVER", "MEDIAN", "P10", "P90", "CPU", "WRITTEN", "RUNS", "TO BEST"]]
        for figure in figures {
            let best = best(figure)
            for subject in subjects {
                guard let values = distribution(figure, subject.driver) else { continue }
                lines.append(line(figure, subject.driver, values, best))
            }
        }
        let table = Columns.align(lines.map { $0.joined(separator: "\t") }.joined(separator: "\n"))
        return head + "\n" + table + "\n" + tail
    }

    private var head: String {
        var text = machine.head(version, subjects) + "Image \(image)\n"
        if isQuick == true { text += "A quick run: less work in each figure, and fewer times\n" }
        if let speed { text += "The machine alone: \(speed)\n" }
        return text
    }

    /// What the machine took for fixed work without any driver; `nil` if that was not measured.
    var speed: String? {
        let parts = Yardstick.allCases.compactMap { yardstick in
            Distribution(yardsticks[yardstick] ?? []).map {
                "\(Human.time(nanoseconds: $0.median)) for \(yardstick.title)"
            }
        }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private var tail: String {
        var text = duration > 0 ? "Took \(Human.time(nanoseconds: duration)).\n" : ""
        text += failures.map { "\($0.driver): not measured: \($0.reason)\n" }.joined()
        if isInterrupted { text += "Interrupted: the rest was not measured.\n" }
        return text.isEmpty ? "" : "\n" + text
    }

    private func row(_ figure: Figure) -> [String] {
        let best = best(figure)
        let cells = subjects.map { subject -> String in
            guard let values = distribution(figure, subject.driver) else { return "-" }
            let mark = mark(subject.driver, best)
            return figure.unit.text(values.median) + (mark.isEmpty ? "" : " " + mark)
        }
        return [title(figure)] + cells
    }

    private func line(
        _ figure: Figure,
        _ driver: String,
        _ values: Distribution,
        _ best: (driver: String, equals: Set<String>)?
    ) -> [String] {
        let unit = figure.unit
        let isTime = unit == .nanoseconds
        let least = best.flatMap { distribution(figure, $0.driver)?.median } ?? 0
        let ratio = least > 0 ? Decimals.fixed(Double(values.median) / Double(least), places: 2) : nil
        return [
            figure.name, driver, unit.text(values.median), unit.text(values.p10), unit.text(values.p90),
            isTime ? unit.text(values.cpu) : "-", isTime ? Human.size(values.written) : "-",
            "\(values.count)",
            [ratio ?? "-", mark(driver, best)].filter { !$0.isEmpty }.joined(separator: " "),
        ]
    }

    private func mark(_ driver: String, _ best: (driver: String, equals: Set<String>)?) -> String {
        guard let best, subjects.count > 1 else { return "" }
        return driver == best.driver ? "*" : best.equals.contains(driver) ? "~" : ""
    }
}

extension Machine {
    /// What measured, on what, where: the first lines of a result.
    func head(_ version: String, _ subjects: [Report.Subject]) -> String {
        let size = Human.binarySize(memory, digits: 3)
        let elsewhere = subjects.filter { $0.place != fileSystem }.map { "\($0.driver) on \($0.place)\n" }
        return """
            Strata \(version) on Linux \(kernel), \(processors) × \(processor), \(size)
            Stores below \(directory) (\(fileSystem))
            \(elsewhere.joined())
            """
    }
}

extension Figure.Unit {
    /// A value as people read it, to three digits.
    package func text(_ value: Int64) -> String {
        switch self {
        case .bytes: Human.size(value)
        case .nanoseconds: Human.time(nanoseconds: value)
        }
    }
}
