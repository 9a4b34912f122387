// SPDX-License-Identifier: Apache-2.0

/// One measurement of one figure.
package struct Sample: Hashable, Sendable {
    /// In the figure's unit: nanoseconds or bytes.
    package var value: Int64
    /// Processor time in nanoseconds, of the processes that did it, user and system.
    package var cpu: Int64
    /// Bytes that these processes handed to the block layer or left dirty for it.
    package var written: Int64

    package init(value: Int64, cpu: Int64 = 0, written: Int64 = 0) {
        self.value = value
        self.cpu = cpu
        self.written = written
    }
}

/// What the samples of one figure on one subject say together.
package struct Distribution: Sendable {
    /// Sorted.
    private let values: [Int64]
    /// Medians.
    package let cpu: Int64
    package let written: Int64

    /// `nil` without samples.
    package init?(_ samples: [Sample]) {
        guard !samples.isEmpty else { return nil }
        values = samples.map(\.value).sorted()
        cpu = Self.quantile(samples.map(\.cpu).sorted(), 0.5)
        written = Self.quantile(samples.map(\.written).sorted(), 0.5)
    }

    package var count: Int { values.count }
    package var median: Int64 { Self.quantile(values, 0.5) }
    package var p10: Int64 { Self.quantile(values, 0.1) }
    package var p90: Int64 { Self.quantile(values, 0.9) }

    /// Between the nearest two, as most tools do it.
    private static func quantile(_ sorted: [Int64], _ part: Double) -> Int64 {
        let position = part * Double(sorted.count - 1)
        let below = Int(position)
        let above = min(below + 1, sorted.count - 1)
        let share = position - Double(below)
        return Int64((Double(sorted[below]) * (1 - share) + Double(sorted[above]) * share).rounded())
    }

    /// Whether the difference to `other` may be chance.
    ///
    /// With five samples or more on both sides the rank-sum test of Mann and Whitney at 5 % (normal approximation, ties
    /// at their mean rank) decides. With fewer it may be chance unless the ranges lie apart; if they are so few that chance
    /// puts the ranges apart in more than 5 % of all cases, unless one median is more than `few` times the other, too.
    /// Where they overlap, unless one median is more than twice the other and four fifths of all pairs say the same: one
    /// value far out, of many, is no reason for doubt.
    package func isWithinNoise(of other: Distribution, few: Double = 1.5) -> Bool {
        let won = pairsWon(against: other)
        guard count >= 5, other.count >= 5 else {
            let share = max(won, Double(count * other.count) - won) / Double(count * other.count)
            let ratio = Double(max(median, other.median)) / Double(max(1, min(median, other.median)))
            if share == 1 { return Self.chanceOfRangesApart(count, other.count) > 0.05 && ratio <= few }
            return share < 0.8 || ratio <= 2
        }
        let (ours, theirs) = (Double(count), Double(other.count))
        let mean = ours * theirs / 2
        let deviation = (ours * theirs * (ours + theirs + 1) / 12).squareRoot()
        return abs(won - mean) < 1.96 * deviation
    }

    /// How likely all values of one of two equal sides are above all of the other: 2 · n! · m! / (n + m)!.
    private static func chanceOfRangesApart(_ one: Int, _ other: Int) -> Double {
        (1...min(one, other)).reduce(2) { $0 * Double($1) / Double(max(one, other) + $1) }
    }

    /// In how many of all pairs our value is the larger one; a tie is half a pair.
    private func pairsWon(against other: Distribution) -> Double {
        var won = 0.0
        for value in values {
            for rival in other.values { won += value > rival ? 1 : value == rival ? 0.5 : 0 }
        }
        return won
    }
}
