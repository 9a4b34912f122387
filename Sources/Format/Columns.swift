// SPDX-License-Identifier: Apache-2.0

/// Aligns text whose columns are ended by tabs, as Docker does: at least 10 wide, 3 spaces apart.
///
/// As in Go's `tabwriter`, a column is a run of neighbouring lines that have a cell there; the last cell of a line
/// belongs to none.
package enum Columns {
    package static func align(_ text: String, minimum: Int = 10, padding: Int = 3) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map {
            $0.split(separator: "\t", omittingEmptySubsequences: false)
        }
        var widths = lines.map { [Int](repeating: minimum, count: $0.count - 1) }
        for column in 0..<(widths.map(\.count).max() ?? 0) {
            var start = 0
            while start < lines.count {
                guard widths[start].count > column else {
                    start += 1
                    continue
                }
                var end = start
                var width = minimum
                while end < lines.count, widths[end].count > column {
                    width = max(width, lines[end][column].unicodeScalars.count + padding)
                    end += 1
                }
                for line in start..<end { widths[line][column] = width }
                start = end
            }
        }
        return zip(lines, widths).map(line).joined(separator: "\n")
    }

    private static func line(_ cells: [Substring], _ widths: [Int]) -> String {
        var text = ""
        for (position, cell) in cells.enumerated() {
            text += cell
            guard position < widths.count else { break }
            text += String(repeating: " ", count: max(0, widths[position] - cell.unicodeScalars.count))
        }
        return text
    }
}
