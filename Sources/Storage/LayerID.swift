// SPDX-License-Identifier: Apache-2.0

/// The name of a layer on disk and in the rows: 8 characters of base 32 (`a`-`z`, `2`-`7`), random.
///
/// Making the layer decides a collision. 400 such names fit the one page that mount(2) takes.
package struct LayerID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// `nil` unless `text` has the form of a layer id; so no id can be a path.
    package init?(_ text: String) {
        guard text.utf8.count == 8, text.utf8.allSatisfy(Self.isDigit) else { return nil }
        rawValue = text
    }

    private init(unchecked text: String) { rawValue = text }

    package static func random() -> LayerID {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<8).map { _ in alphabet[Int.random(in: 0..<32, using: &generator)] }
        return LayerID(unchecked: String(decoding: bytes, as: UTF8.self))
    }

    private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    /// Whether `alphabet` has it; asked for every id of a listing.
    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "2")...UInt8(ascii: "7")).contains(byte)
    }

    package var description: String { rawValue }

    package static func < (left: LayerID, right: LayerID) -> Bool { left.rawValue < right.rawValue }
}

/// Sealed layers that stand on each other, the base first.
///
/// Empty: nothing below.
package struct LayerChain: Hashable, Sendable {
    package var ids: [LayerID]

    package init(_ ids: [LayerID] = []) { self.ids = ids }

    /// The direct parent of whatever stands on this chain.
    package var top: LayerID? { ids.last }

    package func appending(_ id: LayerID) -> LayerChain { LayerChain(ids + [id]) }
}
