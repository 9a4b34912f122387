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

    /// As `align` lays out lines that all have the same number of cells, at a cost of their bytes.
    static func table(_ lines: [[String]], minimum: Int = 10, padding: Int = 3) -> String {
        var widths = [Int](repeating: minimum, count: max(0, (lines.first?.count ?? 0) - 1))
        for line in lines {
            // A cell that is no cell: only `align` knows what comes of it.
            let isOdd = line.contains { cell in cell.utf8.contains { $0 == 0x09 || $0 == 0x0A } }
            if isOdd {
                return align(lines.map { $0.joined(separator: "\t") + "\n" }.joined())
            }
            for column in widths.indices {
                widths[column] = max(widths[column], width(of: line[column]) + padding)
            }
        }
        var output: [UInt8] = []
        output.reserveCapacity(lines.count * (widths.reduce(32, +)))
        for line in lines {
            for (column, cell) in line.enumerated() {
                output.append(contentsOf: cell.utf8)
                guard column < widths.count else { continue }
                output.append(
                    contentsOf: repeatElement(UInt8(ascii: " "), count: widths[column] - width(of: cell))
                )
            }
            output.append(UInt8(ascii: "\n"))
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// Unicode scalars: all bytes but those that continue one.
    private static func width(of cell: String) -> Int {
        cell.utf8.reduce(0) { $1 & 0xC0 == 0x80 ? $0 : $0 + 1 }
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
