// SPDX-License-Identifier: Apache-2.0

/// One JSON value (RFC 8259).
///
/// Numbers keep their text, so nothing is rounded on the way through. Objects keep their order.
/// Strings are compared by their bytes: names that differ only in Unicode form stay different.
package enum JSON: Sendable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

extension JSON {
    /// A number from any integer.
    package static func integer(_ value: some BinaryInteger) -> JSON { .number(JSONNumber(value)) }

    /// An array of strings.
    package static func strings(_ values: [String]) -> JSON { .array(values.map(JSON.string)) }

    /// The text of a string.
    package var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// The number, if it is written as an integer and fits.
    package var int: Int? {
        guard case .number(let number) = self else { return nil }
        return number.int
    }

    package var int64: Int64? {
        guard case .number(let number) = self else { return nil }
        return number.integer()
    }

    package var uint64: UInt64? {
        guard case .number(let number) = self else { return nil }
        return number.integer()
    }

    package var uint32: UInt32? {
        guard case .number(let number) = self else { return nil }
        return number.integer()
    }

    package var double: Double? {
        guard case .number(let number) = self else { return nil }
        return number.double
    }

    package var number: JSONNumber? {
        guard case .number(let number) = self else { return nil }
        return number
    }

    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    package var array: [JSON]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    package var object: JSONObject? {
        guard case .object(let object) = self else { return nil }
        return object
    }

    package var isNull: Bool {
        guard case .null = self else { return false }
        return true
    }

    /// The strings of an array that holds nothing else.
    package var strings: [String]? {
        guard case .array(let elements) = self else { return nil }
        var result: [String] = []
        result.reserveCapacity(elements.count)
        for element in elements {
            guard case .string(let text) = element else { return nil }
            result.append(text)
        }
        return result
    }

    /// What the type is called in messages.
    package var typeName: String {
        switch self {
        case .null: "null"
        case .bool: "bool"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// The member `name` of an object; `nil` for any other value.
    package subscript(_ name: String) -> JSON? {
        guard case .object(let object) = self else { return nil }
        return object[name]
    }

    /// The element at `position` of an array; `nil` outside of it or for any other value.
    package subscript(_ position: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(position) else { return nil }
        return elements[position]
    }
}

extension JSON: Hashable {
    package static func == (left: JSON, right: JSON) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): JSONKey(left) == JSONKey(right)
        case (.array(let left), .array(let right)): left == right
        case (.object(let left), .object(let right)): left == right
        default: false
        }
    }

    package func hash(into hasher: inout Hasher) {
        switch self {
        case .null: hasher.combine(0 as UInt8)
        case .bool(let value): hasher.combine(value)
        case .number(let number): hasher.combine(number)
        case .string(let text): hasher.combine(JSONKey(text))
        case .array(let elements): hasher.combine(elements)
        case .object(let object): hasher.combine(object)
        }
    }
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(nilLiteral: ()) { self = .null }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }

    /// Of members with the same name the last counts.
    package init(dictionaryLiteral elements: (String, JSON)...) {
        var object = JSONObject()
        object.reserveCapacity(elements.count)
        for (name, value) in elements { object[name] = value }
        self = .object(object)
    }
}
