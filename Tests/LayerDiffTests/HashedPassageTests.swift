// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LayerDiff

@Suite struct HashedPassageTests {
    private struct Broken: Error {}

    private func fill(_ room: UnsafeMutableRawBufferPointer, from position: Int, _ count: Int) {
        for index in 0..<count {
            room[index] = UInt8(truncatingIfNeeded: (position + index) &* 31 ^ (position + index) >> 8)
        }
    }

    /// Nothing, a byte, pieces of odd sizes, and several times what the memory holds.
    @Test(arguments: [(0, 1), (1, 1), (3_000_001, 77_777), (13 << 20, 1 << 20)])
    func givesWhatPassesAndItsDigest(_ size: Int, _ most: Int) throws {
        let passage = try HashedPassage()
        var seen: [UInt8] = []
        while true {
            let piece = try passage.next { room in
                let count = min(room.count, most, size - seen.count)
                fill(room, from: seen.count, count)
                return count
            }
            if piece.isEmpty { break }
            seen += piece
        }
        var expected = [UInt8](repeating: 0, count: size)
        expected.withUnsafeMutableBytes { fill($0, from: 0, size) }
        #expect(seen == expected)
        #expect(passage.finish() == Digest.sha256(of: expected))
    }

    /// The thread ends with the object.
    @Test func isLeftHalfWay() throws {
        for _ in 0..<20 {
            let passage = try HashedPassage()
            _ = try passage.next { $0.count }
            #expect(throws: Broken.self) { _ = try passage.next { _ in throw Broken() } }
        }
    }
}
