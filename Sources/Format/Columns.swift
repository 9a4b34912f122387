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
        var own: [Int] = []
        var capacity = 0
        for line in lines {
            for (column, cell) in line.enumerated() {
                guard let width = width(of: cell) else {
                    // A cell that is no cell: only `align` knows what comes of it.
                    return align(lines.map { $0.joined(separator: "\t") + "\n" }.joined())
                }
                own.append(width)
                capacity += cell.utf8.count
                if column < widths.count { widths[column] = max(widths[column], width + padding) }
            }
        }
        capacity += lines.count * widths.reduce(1, +)
        return String(unsafeUninitializedCapacity: capacity) { buffer in
            var (end, index) = (0, 0)
            func add(_ byte: UInt8, _ count: Int) {
                buffer[end..<(end + count)].initialize(repeating: byte)
                end += count
            }
            for line in lines {
                for (column, var cell) in line.enumerated() {
                    end = cell.withUTF8 { buffer[end...].initialize(fromContentsOf: $0) }
                    if column < widths.count { add(UInt8(ascii: " "), widths[column] - own[index]) }
                    index += 1
                }
                add(UInt8(ascii: "\n"), 1)
            }
            return end
        }
    }

    /// Unicode scalars: all bytes but those that continue one; `nil` with a tab or a new line in it.
    private static func width(of cell: String) -> Int? {
        var cell = cell
        return cell.withUTF8 { bytes in
            var (width, breaks) = (0, 0)
            for byte in bytes {
                width &+= byte & 0xC0 == 0x80 ? 0 : 1
                breaks &+= byte == 0x09 || byte == 0x0A ? 1 : 0
            }
            return breaks == 0 ? width : nil
        }
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
