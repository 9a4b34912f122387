// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Sizes and times as Docker shows them to people.
package enum Human {
    /// A size in decimal units: `12.3MB`.
    ///
    /// - Parameter digits: significant ones; Docker shows 3 in listings of images and containers, 4 in `system df`.
    package static func size(_ bytes: Int64, digits: Int = 3) -> String {
        scaled(bytes, by: 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB"], digits)
    }

    /// A size in binary units: `512MiB`.
    package static func binarySize(_ bytes: Int64, digits: Int = 4) -> String {
        scaled(bytes, by: 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], digits)
    }

    private static func scaled(_ bytes: Int64, by base: Double, _ units: [String], _ digits: Int) -> String {
        var value = Double(bytes.magnitude)
        var unit = 0
        while unit + 1 < units.count, value >= base || Decimals.rounded(value, digits: digits) >= base {
            value /= base
            unit += 1
        }
        return (bytes < 0 ? "-" : "") + Decimals.significant(value, digits: digits) + units[unit]
    }

    /// A number with its thousands apart: `10,000`.
    package static func grouped(_ number: Int) -> String {
        let digits = Array("\(number.magnitude)".utf8)
        var text = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += "," }
            text.unicodeScalars.append(Unicode.Scalar(digit))
        }
        return text
    }

    /// A measured time to three digits: `12.3 ms`.
    package static func time(nanoseconds: Int64) -> String {
        let units: [(name: String, size: Int64)] = [
            ("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1000),
        ]
        let unit = units.first { nanoseconds >= $0.size } ?? ("ns", 1)
        return Decimals.significant(Double(nanoseconds) / Double(unit.size), digits: 3) + " " + unit.name
    }

    /// A point in time in listings, as Docker shows it: `2026-01-02 15:04:05 +0000 UTC`.
    ///
    /// - Parameter text: the time as RFC 3339 in UTC.
    package static func date(_ text: String) -> String {
        "\(text.prefix(10)) \(text.dropFirst(11).prefix(8)) +0000 UTC"
    }

    /// How long something took or has lasted: `About a minute`, `3 hours`.
    package static func duration(seconds: Int64) -> String {
        let minutes = seconds / 60
        let hours = Int64((Double(seconds) / 3600).rounded())
        return switch seconds {
        case ..<1: "Less than a second"
        case 1: "1 second"
        case ..<60: "\(seconds) seconds"
        case _ where minutes == 1: "About a minute"
        case _ where minutes < 60: "\(minutes) minutes"
        case _ where hours == 1: "About an hour"
        case _ where hours < 48: "\(hours) hours"
        case _ where hours < 24 * 7 * 2: "\(hours / 24) days"
        case _ where hours < 24 * 30 * 2: "\(hours / 24 / 7) weeks"
        case _ where hours < 24 * 365 * 2: "\(hours / 24 / 30) months"
        default: "\(seconds / 3600 / 24 / 365) years"
        }
    }

    /// `2 minutes ago`.
    package static func ago(seconds: Int64) -> String { duration(seconds: seconds) + " ago" }
}

/// Decimal fractions of numbers of everyday size.
package enum Decimals {
    /// `value` rounded to so many significant digits, zeros at the end dropped.
    static func significant(_ value: Double, digits: Int) -> String {
        var places = places(value, digits)
        let scaled = (value * power(places)).rounded(.toNearestOrEven)
        guard (0..<1e15).contains(scaled) else { return fixed(value, places: 0) }
        var units = Int64(scaled)
        while places > 0, units % 10 == 0 {
            units /= 10
            places -= 1
        }
        let text = "\(units)"
        if places == 0 { return text }
        let padded = String(repeating: "0", count: max(0, places + 1 - text.utf8.count)) + text
        return padded.dropLast(places) + "." + padded.suffix(places)
    }

    static func rounded(_ value: Double, digits: Int) -> Double {
        let power = power(places(value, digits))
        return (value * power).rounded(.toNearestOrEven) / power
    }

    /// `value` with so many digits behind the point, rounded exactly.
    package static func fixed(_ value: Double, places: Int) -> String {
        let format = "%.*f"
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 400) { buffer in
            let arguments: [any CVarArg] = [CInt(min(max(places, 0), 60)), value]
            let count = withVaList(arguments) { vsnprintf(buffer.baseAddress, buffer.count, format, $0) }
            return String(decoding: UnsafeRawBufferPointer(buffer).prefix(max(0, Int(count))), as: UTF8.self)
        }
    }

    /// How many places behind the point make `digits` significant digits.
    private static func places(_ value: Double, _ digits: Int) -> Int {
        var places = digits - 1
        var limit = 10.0
        while places > 0, value >= limit {
            places -= 1
            limit *= 10
        }
        return places
    }

    private static func power(_ exponent: Int) -> Double {
        (0..<max(0, exponent)).reduce(1) { power, _ in power * 10 }
    }
}
