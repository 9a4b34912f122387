// SPDX-License-Identifier: Apache-2.0

/// Lines of the same number of cells, laid out as `Columns.align` does, at a cost of their bytes.
struct Table {
    private static let (minimum, padding) = (10, 3)

    /// The cells' texts, one behind the other.
    private var bytes: [UInt8] = []
    /// Where each cell ends in `bytes`, and how many unicode scalars it has.
    private var cells: [(end: Int, width: Int)] = []
    /// Of all columns but the last, with what is between it and the next.
    private var widths: [Int]
    /// A cell holds a tab or a new line: only `Columns.align` knows what comes of it.
    private var isRagged = false

    init(columns: Int) { widths = Array(repeating: Self.minimum, count: max(0, columns - 1)) }

    /// Adds a cell to the last line, or begins the next one with it.
    mutating func add(_ cell: String) {
        var cell = cell
        var (width, breaks) = (0, 0)
        cell.withUTF8 { utf8 in
            bytes.append(contentsOf: utf8)
            for byte in utf8 {
                width &+= byte & 0xC0 == 0x80 ? 0 : 1
                breaks &+= byte == 0x09 || byte == 0x0A ? 1 : 0
            }
        }
        if breaks > 0 { isRagged = true }
        let column = cells.count % (widths.count + 1)
        if column < widths.count { widths[column] = max(widths[column], width + Self.padding) }
        cells.append((bytes.count, width))
    }

    var text: String {
        if isRagged { return Columns.align(lines(separator: 0x09) { _, _ in 1 }) }
        return lines(separator: 0x20) { column, cell in widths[column] - cell }
    }

    /// The lines, with as many separators behind each cell but the last as `count` says of its column and width.
    private func lines(separator: UInt8, count: (_ column: Int, _ width: Int) -> Int) -> String {
        let capacity = bytes.count + (cells.count / (widths.count + 1) + 1) * widths.reduce(1, +)
        return String(unsafeUninitializedCapacity: capacity) { buffer in
            bytes.withUnsafeBufferPointer { bytes in
                var (end, start, column) = (0, 0, 0)
                for cell in cells {
                    end = buffer[end...].initialize(fromContentsOf: bytes[start..<cell.end])
                    start = cell.end
                    let isLast = column == widths.count
                    let gap = isLast ? 1 : count(column, cell.width)
                    buffer[end..<(end + gap)].initialize(repeating: isLast ? 0x0A : separator)
                    end += gap
                    column = isLast ? 0 : column + 1
                }
                return end
            }
        }
    }
}
