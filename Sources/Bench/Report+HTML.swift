// SPDX-License-Identifier: Apache-2.0

import Format
import LinuxSys

/// One page that needs nothing else: charts as SVG, figures beside them, words for who did not write this program.
extension Report {
    package var html: String {
        let groups = Figure.Group.allCases.map(section).joined()
        return Page.document(
            "Storage drivers compared",
            "\(introduction)\n\(groups)\(Page.notMeasured(failures, isInterrupted))"
        )
    }

    private var introduction: String {
        let places = subjects.map { "<b>\(Page.escape($0.driver))</b> on \(Page.escape($0.place))" }
        return """
            \(machine.line(version, date))
            <p>Each driver had a store of its own below <code>\(Page.escape(machine.directory))</code>: \
            \(places.joined(separator: ", ")). \(machine.fileSystemInWords) The image: \(Page.escape(image)). All did the same \
            work in turn, not one after another, so whatever else the machine did fell on all alike.\
            \(isQuick == true ? " It was a quick run, with less work in each figure and fewer times." : "")</p>
            <p>Bars are medians, and shorter is better; the thin line reaches from the tenth to the ninetieth percentile. \
            The best is dark; <b>≈</b> marks what is not surely worse than it. Charts cannot be compared with each other.</p>
            \(speed.map { "<p class=\"note\">The machine itself, without any driver, took \(Page.escape($0)).</p>" } ?? "")

            """
    }

    private func section(_ group: Figure.Group) -> String {
        let figures = figures.filter { $0.group == group }
        if figures.isEmpty { return "" }
        return "<h2>\(Page.escape(group.title))</h2>\n" + figures.map(chart).joined()
    }

    private func chart(_ figure: Figure) -> String {
        let results = subjects.compactMap { subject in
            distribution(figure, subject.driver).map { (driver: subject.driver, values: $0) }
        }
        let scale = Double(results.map { max($0.values.median, $0.values.p90) }.max() ?? 1)
        let best = best(figure)
        let bars = results.enumerated().map { index, result in
            bar(figure, result.driver, result.values, index, scale, best)
        }
        let height = results.count * 26
        return """
            <h3>\(Page.escape(title(figure)))</h3><p class="note">\(Page.escape(figure.explanation))</p>
            <svg viewBox="0 0 900 \(height)" role="img" aria-label="\(Page.escape(figure.title))">\(bars.joined())</svg>
            \(details(figure, results))

            """
    }

    private func bar(
        _ figure: Figure,
        _ driver: String,
        _ values: Distribution,
        _ index: Int,
        _ scale: Double,
        _ best: (driver: String, equals: Set<String>)?
    ) -> String {
        func place(_ value: Int64) -> String {
            Decimals.fixed(130 + 600 * Double(value) / max(1, scale), places: 1)
        }
        let isBest = driver == best?.driver
        let top = index * 26
        let width = Decimals.fixed(max(1, 600 * Double(values.median) / max(1, scale)), places: 1)
        let mark = best?.equals.contains(driver) == true ? " ≈" : ""
        return """
            <text x="0" y="\(top + 17)"\(isBest ? " class=\"best\"" : "")>\(Page.escape(driver))</text>\
            <rect x="130" y="\(top + 4)" width="\(width)" height="17" rx="2" class="\(isBest ? "top" : "bar")"/>\
            <line x1="\(place(values.p10))" x2="\(place(values.p90))" y1="\(top + 12)" y2="\(top + 12)" class="range"/>\
            <text x="745" y="\(top + 17)" class="\(isBest ? "best" : "value")">\(figure.unit.text(values.median))\(mark)</text>
            """
    }

    private func details(_ figure: Figure, _ results: [(driver: String, values: Distribution)]) -> String {
        let unit = figure.unit
        let rows = results.map { driver, values -> String in
            let work =
                unit == .nanoseconds ? [unit.text(values.cpu), Human.size(values.written)] : ["-", "-"]
            let cells = [
                Page.escape(driver), unit.text(values.median), unit.text(values.p10), unit.text(values.p90),
            ]
            return "<tr><td>" + (cells + work + ["\(values.count)"]).joined(separator: "</td><td>")
                + "</td></tr>"
        }
        return """
            <details><summary>figures</summary><table><tr><th>driver</th><th>median</th><th>p10</th><th>p90</th>\
            <th>processor time</th><th>written</th><th>runs</th></tr>\(rows.joined())</table></details>
            """
    }
}

extension Machine {
    /// What was measured, when and on what, as the first line of a page.
    func line(_ version: String, _ date: Timestamp) -> String {
        """
        <p class="note">Strata \(Page.escape(version)), \(Page.escape(Timestamp(seconds: date.seconds).rfc3339)); \
        Linux \(Page.escape(kernel)), \(processors) × \(Page.escape(processor)), \(Human.binarySize(memory, digits: 3)).</p>
        """
    }

    /// What its file system means for drivers.
    var fileSystemInWords: String {
        let name = Page.escape(fileSystem)
        return sharesBlocks
            ? "On \(name) files can share their blocks, so a driver that copies a file copies no bytes of it."
            : "On \(name) files cannot share blocks, so a driver that copies a file copies all its bytes."
    }
}
