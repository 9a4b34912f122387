// SPDX-License-Identifier: Apache-2.0

import Format
import LinuxSys

/// One page that needs nothing else: charts as SVG, figures beside them, words for who did not write this program.
extension Report {
    package var html: String {
        let groups = Figure.Group.allCases.map(section).joined()
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>Storage drivers compared</title><style>\(Self.style)</style></head><body>
            <h1>Storage drivers compared</h1>
            \(introduction)
            \(groups)\(failed)
            </body></html>

            """
    }

    private static let style = """
        body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
        h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-bottom:1px solid #d0d7de}
        h3{font-size:1rem;margin:1.4rem 0 0}p{margin:.2rem 0 .5rem}.note{color:#57606a}
        svg{display:block;width:100%;height:auto;margin:.3rem 0}text{font:13px system-ui,sans-serif;fill:#1b1f24}
        .value{fill:#57606a}.best{font-weight:600;fill:#1b1f24}.bar{fill:#9db7d5}.top{fill:#1f6feb}.range{stroke:#24292f;stroke-width:1.2}
        details{margin:.2rem 0 0}summary{cursor:pointer;color:#57606a}table{border-collapse:collapse;font-size:13px;margin:.4rem 0}
        td,th{padding:.15rem .8rem .15rem 0;text-align:right;border-bottom:1px solid #eaeef2}td:first-child,th:first-child{text-align:left}
        @media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}h2{border-color:#30363d}text,.best{fill:#e6edf3}
        .value{fill:#9198a1}.note,summary{color:#9198a1}.range{stroke:#e6edf3}.bar{fill:#38557a}.top{fill:#4493f8}td,th{border-color:#21262d}}
        """

    private var introduction: String {
        let memory = Human.binarySize(machine.memory, digits: 3)
        let places = subjects.map { "<b>\(Self.escape($0.driver))</b> on \(Self.escape($0.place))" }
        return """
            <p class="note">Strata \(Self.escape(version)), \(Self.escape(Timestamp(seconds: date.seconds).rfc3339)); Linux \(Self.escape(machine.kernel)), \
            \(machine.processors) × \(Self.escape(machine.processor)), \(memory).</p>
            <p>Each driver had a store of its own below <code>\(Self.escape(machine.directory))</code>: \
            \(places.joined(separator: ", ")). The image: \(Self.escape(image)). All did the same work in turn, not one \
            after another, so whatever else the machine did fell on all alike.</p>
            <p>Bars are medians, and shorter is better; the thin line reaches from the tenth to the ninetieth percentile. \
            The best is dark; <b>≈</b> marks what is not surely worse than it. Charts cannot be compared with each other.</p>

            """
    }

    private func section(_ group: Figure.Group) -> String {
        let figures = figures.filter { $0.group == group }
        if figures.isEmpty { return "" }
        return "<h2>\(Self.escape(group.title))</h2>\n" + figures.map(chart).joined()
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
            <h3>\(Self.escape(figure.title))</h3><p class="note">\(Self.escape(figure.explanation))</p>
            <svg viewBox="0 0 900 \(height)" role="img" aria-label="\(Self.escape(figure.title))">\(bars.joined())</svg>
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
            <text x="0" y="\(top + 17)"\(isBest ? " class=\"best\"" : "")>\(Self.escape(driver))</text>\
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
                Self.escape(driver), unit.text(values.median), unit.text(values.p10), unit.text(values.p90),
            ]
            return "<tr><td>" + (cells + work + ["\(values.count)"]).joined(separator: "</td><td>")
                + "</td></tr>"
        }
        return """
            <details><summary>figures</summary><table><tr><th>driver</th><th>median</th><th>p10</th><th>p90</th>\
            <th>processor time</th><th>written</th><th>runs</th></tr>\(rows.joined())</table></details>
            """
    }

    private var failed: String {
        var lines = failures.map { "<li><b>\(Self.escape($0.driver))</b>: \(Self.escape($0.reason))</li>" }
        if isInterrupted { lines.append("<li>It was interrupted; the rest was not measured.</li>") }
        return lines.isEmpty ? "" : "<h2>Not measured</h2><ul>\(lines.joined())</ul>\n"
    }

    /// Text as HTML, in content and in attributes.
    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
