// SPDX-License-Identifier: Apache-2.0

/// The members of a JSON object, each name once, in their order.
///
/// Equality does not ask for the order.
package struct JSONObject: Sendable {
    package struct Member: Sendable {
        package let key: String
        package var value: JSON
    }

    private var members: [Member] = []
    /// Positions by name, kept only for objects larger than `linearLimit`.
    private var positions: [JSONKey: Int]?

    private static let linearLimit = 32

    package init() {}

    package var keys: [String] { members.map(\.key) }

    package mutating func reserveCapacity(_ count: Int) { members.reserveCapacity(count) }

    /// The value of a member.
    ///
    /// Setting `nil` removes the member; a new one comes last.
    package subscript(_ key: String) -> JSON? {
        get { position(of: key).map { members[$0].value } }
        set {
            switch (position(of: key), newValue) {
            case (let position?, let value?):
                members[position].value = value
            case (let position?, nil):
                members.remove(at: position)
                if positions != nil { index() }
            case (nil, let value?):
                add(key, value)
            case (nil, nil):
                break
            }
        }
    }

    /// Adds a member at the end.
    ///
    /// - Returns: false, and nothing is changed, when the name is there already.
    package mutating func append(_ key: String, _ value: JSON) -> Bool {
        guard position(of: key) == nil else { return false }
        add(key, value)
        return true
    }

    private mutating func add(_ key: String, _ value: JSON) {
        members.append(Member(key: key, value: value))
        if positions != nil {
            positions?[JSONKey(key)] = members.count - 1
        } else if members.count > Self.linearLimit {
            index()
        }
    }

    private mutating func index() {
        var positions: [JSONKey: Int] = [:]
        positions.reserveCapacity(members.count * 2)
        for (position, member) in members.enumerated() { positions[JSONKey(member.key)] = position }
        self.positions = positions
    }

    private func position(of key: String) -> Int? {
        let key = JSONKey(key)
        if let positions { return positions[key] }
        return members.firstIndex { JSONKey($0.key) == key }
    }
}

extension JSONObject: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { members.count }
    package subscript(position: Int) -> Member { members[position] }
}

extension JSONObject: Hashable {
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        for member in left.members where right[member.key] != member.value { return false }
        return true
    }

    package func hash(into hasher: inout Hasher) {
        var sum = 0
        for member in members {
            var one = Hasher()
            one.combine(JSONKey(member.key))
            one.combine(member.value)
            sum ^= one.finalize()
        }
        hasher.combine(sum)
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// Of members with the same name the last counts.
    package init(dictionaryLiteral elements: (String, JSON)...) {
        for (key, value) in elements { self[key] = value }
    }
}

/// A name compared by its bytes; `String` itself takes different spellings of one Unicode text for the same.
struct JSONKey: Hashable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: JSONKey, right: JSONKey) -> Bool {
        // The first two are quick and settle nearly all; only the last is right where Unicode forms differ.
        left.text.utf8.count == right.text.utf8.count && left.text == right.text
            && left.text.utf8.elementsEqual(right.text.utf8)
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
