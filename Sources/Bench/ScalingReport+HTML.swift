// SPDX-License-Identifier: Apache-2.0

import Format
import Glibc

/// A page with a chart for each operation, both of whose axes are logarithmic: what is linear there rises by one decade per
/// decade, what is flat does not rise.
extension ScalingReport {
    package var html: String {
        let places = subjects.map { "<b>\(Page.escape($0.driver))</b> on \(Page.escape($0.place))" }
        let introduction = """
            \(machine.line(version, date))
            <p>How the cost of each operation grows with the layers and files of an image and with the containers in the store. \
            \(places.joined(separator: ", ")). \(machine.fileSystemInWords)</p>
            <p>Both axes are logarithmic: a flat line costs the same at any size, and one that rises by one decade per decade \
            is linear. Beside each line stands what fits it best, with <b>!</b> where it grows more than it should, and with \
            <b>?</b> where its processor time does not, so that what grows is waiting: for the disk, or for what else the \
            machine did. Points are \
            tenth percentiles: what the operation costs when nothing else disturbs it.</p>

            """
        let body = ScalingAxis.allCases.map(section).joined()
        return Page.document(
            "How costs grow",
            introduction + body + Page.notMeasured(failures, isInterrupted)
        )
    }

    private func section(_ axis: ScalingAxis) -> String {
        let charts = curves(axis).map { chart($0.figure, $0.curves) }
        return charts.isEmpty ? "" : "<h2>\(Page.escape(axis.title))</h2>\n" + charts.joined()
    }

    private func chart(_ figure: Figure, _ curves: [Curve]) -> String {
        let frame = Frame(curves)
        let lines = curves.enumerated().map { index, curve in line(curve, index, frame) }
        return """
            <h3>\(Page.escape(figure.title))</h3><p class="note">\(Page.escape(figure.explanation))</p>
            <svg viewBox="0 0 900 \(Frame.height)" role="img" aria-label="\(Page.escape(figure.title))">\
            \(frame.grid(figure))\(lines.joined())</svg>
            \(details(figure, curves))

            """
    }

    private func line(_ curve: Curve, _ index: Int, _ frame: Frame) -> String {
        let color = "c\((subjects.firstIndex { $0.driver == curve.driver } ?? index) % Page.colors)"
        let places = curve.points.map { frame.place($0.size, $0.values.p10) }
        let points = places.map { "\($0.x),\($0.y)" }.joined(separator: " ")
        let dots = places.map { "<circle cx=\"\($0.x)\" cy=\"\($0.y)\" r=\"3.5\" class=\"\(color)\"/>" }
        let top = 34 + index * 24
        return """
            <polyline points="\(points)" class="curve \(color)"/>\(dots.joined())\
            <circle cx="660" cy="\(top - 4)" r="5" class="\(color)"/>\
            <text x="674" y="\(top)">\(Page.escape(curve.driver)): \(curve.growthText)</text>
            """
    }

    private func details(_ figure: Figure, _ curves: [Curve]) -> String {
        let sizes = Set(curves.flatMap { $0.points.map(\.size) }).sorted()
        let head = (["driver"] + sizes.map(Human.grouped)).map { "<th>\($0)</th>" }.joined()
        let rows = curves.map { curve -> String in
            let cells = sizes.map { size in
                curve.points.first { $0.size == size }
                    .map { "\(figure.unit.text($0.values.p10)) (\(figure.unit.text($0.values.median)))" }
                    ?? "-"
            }
            return "<tr><td>" + ([Page.escape(curve.driver)] + cells).joined(separator: "</td><td>")
                + "</td></tr>"
        }
        return """
            <details><summary>figures</summary><table><tr>\(head)</tr>\(rows.joined())</table>\
            <p class="note">In parentheses: medians.</p></details>
            """
    }

    /// The axes of a chart.
    private struct Frame {
        static let height = 290
        private static let area = (left: 70.0, right: 640.0, top: 15.0, bottom: 250.0)
        private let sizes: [Int]
        /// Powers of ten.
        private let decades: ClosedRange<Int>

        init(_ curves: [Curve]) {
            let costs = curves.flatMap { $0.points.map { Double(max(1, $0.values.p10)) } }
            sizes = Set(curves.flatMap { $0.points.map(\.size) }).sorted()
            let low = Int(log10(costs.min() ?? 1).rounded(.down))
            decades = low...max(low + 1, Int(log10(costs.max() ?? 1).rounded(.up)))
        }

        func place(_ size: Int, _ cost: Int64) -> (x: String, y: String) {
            (x(size), y(log10(Double(max(1, cost)))))
        }

        private func x(_ size: Int) -> String {
            let (low, high) = (log10(Double(sizes.first ?? 1)), log10(Double(sizes.last ?? 1)))
            let part = high > low ? (log10(Double(size)) - low) / (high - low) : 0.5
            return Decimals.fixed(Self.area.left + part * (Self.area.right - Self.area.left), places: 1)
        }

        private func y(_ exponent: Double) -> String {
            let part = (exponent - Double(decades.lowerBound)) / Double(decades.count - 1)
            return Decimals.fixed(Self.area.bottom - part * (Self.area.bottom - Self.area.top), places: 1)
        }

        func grid(_ figure: Figure) -> String {
            let costs = decades.map { decade -> String in
                let place = y(Double(decade))
                let text = figure.unit.text(Int64(pow(10, Double(decade)).rounded()))
                return """
                    <line x1="\(Self.area.left)" x2="\(Self.area.right)" y1="\(place)" y2="\(place)" class="grid"/>\
                    <text x="62" y="\(place)" dy="4" text-anchor="end" class="value">\(text)</text>
                    """
            }
            let columns = sizes.map { size -> String in
                let place = x(size)
                return """
                    <line x1="\(place)" x2="\(place)" y1="\(Self.area.top)" y2="\(Self.area.bottom)" class="grid"/>\
                    <text x="\(place)" y="270" text-anchor="middle" class="value">\(Human.grouped(size))</text>
                    """
            }
            return (costs + columns).joined()
        }
    }
}
