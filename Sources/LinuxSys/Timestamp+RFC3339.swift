// SPDX-License-Identifier: Apache-2.0

extension Timestamp {
    /// `2026-11-21T15:04:05.123456789Z`: UTC, as Go prints it: without trailing zeros, and no fraction at all
    /// for whole seconds.
    package var rfc3339: String {
        let (days, second) = seconds.quotientAndRemainder(dividingByFloored: 86_400)
        let (year, month, day) = Self.civil(days: days)
        var text = Self.pad(year, 4) + "-" + Self.pad(month, 2) + "-" + Self.pad(day, 2) + "T"
        text +=
            Self.pad(second / 3600, 2) + ":" + Self.pad(second / 60 % 60, 2) + ":" + Self.pad(second % 60, 2)
        if nanoseconds > 0 {
            var fraction = Self.pad(Int64(nanoseconds), 9)
            while fraction.last == "0" { fraction.removeLast() }
            text += "." + fraction
        }
        return text + "Z"
    }

    /// Reads RFC 3339: any offset, up to nine digits of fraction (more are cut off); `nil` for anything else.
    package init?(rfc3339 text: String) {
        var bytes = Array(text.utf8)[...]
        guard let year = Self.number(&bytes, 4), Self.skip(&bytes, "-"), let month = Self.number(&bytes, 2),
            Self.skip(&bytes, "-"), let day = Self.number(&bytes, 2),
            Self.skip(&bytes, "T") || Self.skip(&bytes, "t") || Self.skip(&bytes, " "),
            let hour = Self.number(&bytes, 2), Self.skip(&bytes, ":"), let minute = Self.number(&bytes, 2),
            Self.skip(&bytes, ":"), let second = Self.number(&bytes, 2),
            (1...12).contains(month), day >= 1, day <= Self.days(in: month, of: year),
            hour < 24, minute < 60, second <= 60, let fraction = Self.fraction(&bytes),
            let offset = Self.offset(&bytes), bytes.isEmpty
        else { return nil }
        let days = Self.days(year: year, month: month, day: day)
        self.init(seconds: days * 86_400 + hour * 3600 + minute * 60 + second - offset, nanoseconds: fraction)
    }

    /// Gregorian date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
    /// algorithms").
    private static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).quotientAndRemainder(dividingByFloored: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let (era, yearOfEra) = (month <= 2 ? year - 1 : year).quotientAndRemainder(dividingByFloored: 400)
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func pad(_ value: Int64, _ width: Int) -> String {
        let digits = String(value.magnitude)
        let zeros = String(repeating: "0", count: max(0, width - digits.utf8.count))
        return (value < 0 ? "-" : "") + zeros + digits
    }

    private static func number(_ bytes: inout ArraySlice<UInt8>, _ digits: Int) -> Int64? {
        guard bytes.count >= digits else { return nil }
        var value: Int64 = 0
        for byte in bytes.prefix(digits) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        bytes.removeFirst(digits)
        return value
    }

    private static func skip(_ bytes: inout ArraySlice<UInt8>, _ expected: Unicode.Scalar) -> Bool {
        guard bytes.first == UInt8(ascii: expected) else { return false }
        bytes.removeFirst()
        return true
    }

    private static func fraction(_ bytes: inout ArraySlice<UInt8>) -> UInt32? {
        guard skip(&bytes, ".") else { return 0 }
        var value: UInt32 = 0
        var count = 0
        while let digit = number(&bytes, 1) {
            if count < 9 { value = value * 10 + UInt32(digit) }
            count += 1
        }
        guard count > 0 else { return nil }
        for _ in 0..<max(0, 9 - count) { value *= 10 }
        return value
    }

    private static func offset(_ bytes: inout ArraySlice<UInt8>) -> Int64? {
        if skip(&bytes, "Z") || skip(&bytes, "z") { return 0 }
        let isNegative = bytes.first == UInt8(ascii: "-")
        guard skip(&bytes, "+") || skip(&bytes, "-"), let hours = number(&bytes, 2), skip(&bytes, ":"),
            let minutes = number(&bytes, 2), hours < 24, minutes < 60
        else { return nil }
        return (hours * 3600 + minutes * 60) * (isNegative ? -1 : 1)
    }
}

extension Int64 {
    /// Division that rounds down, so that the remainder is never negative.
    fileprivate func quotientAndRemainder(dividingByFloored divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
