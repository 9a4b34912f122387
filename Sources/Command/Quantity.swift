// SPDX-License-Identifier: Apache-2.0

/// A word that is not the quantity it should be.
package struct QuantityError: Error, Hashable, Sendable, CustomStringConvertible {
    package let reason: String
    package var description: String { reason }
}

/// The quantities that Docker's command line knows, with its spellings.
package enum Quantity {
    package static func bool(_ text: String) throws(QuantityError) -> Bool {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: throw QuantityError(reason: "not true or false: '\(text)'")
        }
    }

    package static func integer(_ text: String) throws(QuantityError) -> Int64 {
        guard let value = Int64(text) else { throw QuantityError(reason: "not an integer: '\(text)'") }
        return value
    }

    /// A count of bytes: `512`, `512m`, `1.5g`, `2GiB`; the units are powers of 1024, `-1` is -1 (no limit).
    package static func bytes(_ text: String) throws(QuantityError) -> Int64 {
        if text == "-1" { return -1 }
        let invalid = QuantityError(reason: "invalid size: '\(text)'")
        let digits = text.utf8.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
        guard let number = Decimal(digits) else { throw invalid }
        var suffix = String(Substring(text.utf8[digits.endIndex...]).drop { $0 == " " }).lowercased()
        let unknown = QuantityError(reason: "invalid suffix: '\(suffix)'")
        let powers = "kmgtp"
        var exponent = 0
        if let first = suffix.first, let power = powers.firstIndex(of: first) {
            exponent = powers.distance(from: powers.startIndex, to: power) + 1
            suffix.removeFirst()
            if suffix.hasPrefix("i") {
                guard suffix == "ib" else { throw unknown }
            }
        }
        guard ["", "b", "ib"].contains(suffix) else { throw unknown }
        guard let value = number.scaled(by: 1 << (10 * Int64(exponent))) else { throw invalid }
        return value
    }

    /// A decimal number in billionths: `1.5` is 1,500,000,000.
    package static func nanos(_ text: String) throws(QuantityError) -> Int64 {
        let negative = text.hasPrefix("-")
        let digits = negative || text.hasPrefix("+") ? text.utf8.dropFirst() : text.utf8[...]
        guard let number = Decimal(digits) else {
            throw QuantityError(reason: "not a decimal number: '\(text)'")
        }
        guard number.fraction.count <= 9 else {
            throw QuantityError(reason: "value is too precise: '\(text)'")
        }
        guard let value = number.scaled(by: 1_000_000_000) else {
            throw QuantityError(reason: "value is too large: '\(text)'")
        }
        return negative ? -value : value
    }

    /// A duration as Go writes it: `0`, `300ms`, `1h30m`, `-1.5s`.
    package static func duration(_ text: String) throws(QuantityError) -> Duration {
        let invalid = QuantityError(reason: "invalid duration: '\(text)'")
        let negative = text.hasPrefix("-")
        var rest = negative || text.hasPrefix("+") ? text.utf8.dropFirst() : text.utf8[...]
        if rest.elementsEqual("0".utf8) { return .zero }
        guard !rest.isEmpty else { throw invalid }
        var total: Int64 = 0
        while !rest.isEmpty {
            let digits = rest.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
            let unit = rest[digits.endIndex...].prefix { !isDigit($0) && $0 != UInt8(ascii: ".") }
            rest = rest[unit.endIndex...]
            guard let number = Decimal(digits), let size = nanoseconds(of: String(Substring(unit))),
                let value = number.scaled(by: size)
            else { throw invalid }
            let (sum, overflow) = total.addingReportingOverflow(value)
            guard !overflow else { throw invalid }
            total = sum
        }
        return .nanoseconds(negative ? -total : total)
    }

    private static func nanoseconds(of unit: String) -> Int64? {
        switch unit {
        case "ns": 1
        case "us", "µs", "μs": 1000
        case "ms": 1_000_000
        case "s": 1_000_000_000
        case "m": 60_000_000_000
        case "h": 3_600_000_000_000
        default: nil
        }
    }

    fileprivate static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }
}

/// Digits around at most one point, kept exactly.
private struct Decimal {
    let whole: Int64
    let fraction: [UInt8]

    init?(_ text: Substring.UTF8View) {
        let parts = text.split(separator: UInt8(ascii: "."), maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, text.contains(where: Quantity.isDigit),
            text.allSatisfy({ Quantity.isDigit($0) || $0 == UInt8(ascii: ".") })
        else { return nil }
        var whole: Int64 = 0
        for digit in first {
            let (tens, overflow) = whole.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            whole = sum
        }
        self.whole = whole
        self.fraction = parts.count == 2 ? parts[1].map { $0 - UInt8(ascii: "0") } : []
    }

    /// The product, rounded towards zero; `nil` when it does not fit.
    func scaled(by factor: Int64) -> Int64? {
        let (large, overflow) = whole.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        var digits: UInt64 = 0
        var places: UInt64 = 1
        for digit in fraction.prefix(18) {
            digits = digits * 10 + UInt64(digit)
            places *= 10
        }
        // Less than `factor`, since `digits` is less than `places`; so the division cannot overflow.
        let small = places.dividingFullWidth(digits.multipliedFullWidth(by: UInt64(factor))).quotient
        let (sum, carry) = large.addingReportingOverflow(Int64(small))
        return carry ? nil : sum
    }
}
