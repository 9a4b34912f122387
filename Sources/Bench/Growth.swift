// SPDX-License-Identifier: Apache-2.0

import Format
import Glibc

/// How a cost grows with a number: what `a + b · n^k` fits it best.
package struct Growth: Hashable, Sendable {
    package enum Kind: Int, Comparable, Sendable {
        case flat
        case linear
        case worse

        package static func < (left: Kind, right: Kind) -> Bool { left.rawValue < right.rawValue }
    }

    package let kind: Kind
    /// k; 0 for what is flat.
    package let exponent: Double

    /// - Parameter points: sizes and costs, all above 0; `nil` with fewer than three, which fit anything.
    package init?(_ points: [(size: Double, cost: Double)]) {
        guard points.count >= 3 else { return nil }
        // The simplest form that is near enough goes before one that is nearer.
        let linear = Fit(points, 1)
        let best = stride(from: 0.1, through: 3, by: 0.05).map { Fit(points, $0) }
            .reduce(linear) { $1.error < $0.error ? $1 : $0 }
        let fit = linear.error <= max(Self.tolerance, 1.5 * best.error) ? linear : best
        let isFlat = Fit(points, 0).isNear(points)
        if isFlat || fit.rise(points) < Self.leastRise {
            (kind, exponent) = (.flat, 0)
        } else {
            (kind, exponent) = (fit.exponent <= Self.mostLinear ? .linear : .worse, fit.exponent)
        }
    }

    /// The mean distance, as a part of the cost, that is put down to chance.
    private static let tolerance = 0.2
    /// n · log n over a few decades is no more than this.
    private static let mostLinear = 1.2
    /// How many times the cost at the smallest size the one at the largest is, if it is not flat.
    private static let leastRise = 1.4
    /// How many times what fits the one at the largest may be: what grows is seen there first.
    private static let mostAbove = 1.4

    package var text: String {
        switch (kind, exponent) {
        case (.flat, _): "flat"
        case (.linear, 0.95...1.05): "linear"
        default: "n^\(Decimals.fixed(exponent, places: 2))"
        }
    }

    /// The best `a` and `b`, neither negative, for one exponent.
    private struct Fit {
        let exponent: Double
        let fixed: Double
        let each: Double
        /// The mean relative error.
        let error: Double

        init(_ points: [(size: Double, cost: Double)], _ exponent: Double) {
            self.exponent = exponent
            // Least squares of (a + b·x) / cost against 1.
            var (s00, s01, s11, t0, t1) = (0.0, 0.0, 0.0, 0.0, 0.0)
            let rows = points.map { (1 / $0.cost, exponent == 0 ? 0 : pow($0.size, exponent) / $0.cost) }
            for (u, v) in rows {
                s00 += u * u
                s01 += u * v
                s11 += v * v
                t0 += u
                t1 += v
            }
            let determinant = s00 * s11 - s01 * s01
            var (a, b) = (t0 / s00, 0.0)
            if exponent > 0, determinant > 1e-12 * s00 * s11 {
                (a, b) = ((t0 * s11 - t1 * s01) / determinant, (t1 * s00 - t0 * s01) / determinant)
                if a < 0 { (a, b) = (0, t1 / s11) }
                if b < 0 { (a, b) = (t0 / s00, 0) }
            }
            (fixed, each) = (a, b)
            let sum = rows.reduce(0) { $0 + pow(a * $1.0 + b * $1.1 - 1, 2) }
            error = (sum / Double(points.count)).squareRoot()
        }

        /// Whether it says what the costs are, but for chance.
        func isNear(_ points: [(size: Double, cost: Double)]) -> Bool {
            guard error < Growth.tolerance, let last = points.max(by: { $0.size < $1.size }) else {
                return false
            }
            return last.cost <= Growth.mostAbove * (fixed + each * pow(last.size, exponent))
        }

        /// How many times the cost at the smallest size it makes the one at the largest.
        func rise(_ points: [(size: Double, cost: Double)]) -> Double {
            let sizes = points.map(\.size)
            guard let low = sizes.min(), let high = sizes.max() else { return 1 }
            return (fixed + each * pow(high, exponent)) / (fixed + each * pow(low, exponent))
        }
    }
}
