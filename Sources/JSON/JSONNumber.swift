// SPDX-License-Identifier: Apache-2.0

/// A JSON number, kept as its text.
///
/// Two numbers are equal when they are written alike.
package struct JSONNumber: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    package init(_ value: some BinaryInteger) { text = String(value) }

    /// Takes any value but infinities and NaN, which JSON cannot say (`nil`).
    ///
    /// Whole values are written without a fraction.
    package init?(_ value: Double) {
        guard value.isFinite else { return nil }
        if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 {
            text = String(whole)
        } else {
            text = value.description
        }
    }

    /// - Parameter text: checked by the caller to be a number as RFC 8259 writes it.
    init(checked text: String) { self.text = text }

    /// The value, if it is written as an integer and fits.
    package func integer<T: FixedWidthInteger>() -> T? { T(text) }

    package var int: Int? { integer() }

    /// The nearest value; `nil` when it is too large for a `Double`.
    package var double: Double? {
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }

    package var description: String { text }
}
