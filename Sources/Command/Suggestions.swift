// SPDX-License-Identifier: Apache-2.0

extension Program {
    /// Verbs and groups that are spelled nearly like `path`, the nearest first, at most three.
    func suggestions(for path: String) -> [String] {
        var candidates = shownGroups.map(\.name)
        for verb in verbs where verb.declaration.section != .hidden {
            candidates += [verb.name] + verb.aliases
        }
        let typed = Array(path.utf8.prefix(64))
        var ranked: [(distance: Int, name: String)] = []
        for name in candidates {
            let distance = Self.distance(typed, Array(name.utf8))
            let prefix = typed.count >= 2 && name.hasPrefix(path)
            if distance <= (typed.count < 4 ? 1 : 2) || prefix {
                ranked.append((prefix ? 1 : distance, name))
            }
        }
        ranked.sort { ($0.distance, $0.name) < ($1.distance, $1.name) }
        return ranked.prefix(3).map(\.name)
    }

    /// How many letters must be added, dropped, changed or swapped with their neighbour (optimal string alignment).
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        for (row, byte) in left.enumerated() {
            var next = [row + 1]
            for (column, other) in right.enumerated() {
                var best = min(last[column + 1] + 1, next[column] + 1, last[column] + (byte == other ? 0 : 1))
                if row > 0, column > 0, byte == right[column - 1], left[row - 1] == other {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                next.append(best)
            }
            beforeLast = last
            last = next
        }
        return last[right.count]
    }
}
