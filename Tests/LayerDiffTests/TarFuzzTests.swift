// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import Storage
import Testing

/// Damaged input gives entries or an error, never a crash, a hang or an error without the layer's label.
@Suite struct TarFuzzTests {
    /// SplitMix64: the same cases each time, named by their seed.
    struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }
    }

    static func subjects() throws -> [[UInt8]] {
        let tar = try writeTar(LayerStreamTests.everyKind)
        let sparse =
            TarHostileTests.oldSparse(size: 9, regions: [(0, 1), (4, 3)], data: [1, 2, 3, 4]) + endMark
        let modern = TarHostileTests.modern("1\n0\n512\n") + [UInt8](repeating: 7, count: 512) + endMark
        return [tar, sparse, modern, try gzip(tar), try gzip(sparse) + gzip(modern)]
    }

    @Test(arguments: 0..<8) func damaged(seed: UInt64) throws {
        let subjects = try Self.subjects()
        for round in 0..<150 {
            var generator = Generator(state: seed << 32 | UInt64(round))
            var bytes = subjects[round % subjects.count]
            Self.damage(&bytes, &generator)
            if bytes.count > 512, bytes[0] != 0x1F, Bool.random(using: &generator) {
                Self.mendChecksums(&bytes)
            }
            guard let line = refusal(bytes) else { continue }
            #expect(line.contains("layer test"), "seed \(seed) round \(round): \(line)")
            #expect(!line.hasPrefix("unexpected"), "seed \(seed) round \(round): \(line)")
        }
    }

    /// One to four changes: bytes, cuts, repeats, insertions of numbers that are on the edge.
    static func damage(_ bytes: inout [UInt8], _ generator: inout Generator) {
        for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            let length = min(Int.random(in: 1...64, using: &generator), bytes.count - place)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2: bytes.removeSubrange(place...)
            case 3: bytes.removeSubrange(place..<(place + length))
            case 4: bytes.insert(contentsOf: bytes[place..<(place + length)], at: place)
            default:
                let edge =
                    [0x00, 0x20, 0x2F, 0x37, 0x39, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
                for index in place..<(place + min(length, 12)) { bytes[index] = UInt8(edge) }
            }
        }
    }

    /// Makes the sum of each block that looks like a header right, so that damage gets past it.
    static func mendChecksums(_ bytes: inout [UInt8]) {
        for start in stride(from: 0, through: bytes.count - 512, by: 512)
        where bytes[(start + 257)..<(start + 262)].elementsEqual("ustar".utf8) {
            for index in (start + 148)..<(start + 156) { bytes[index] = 0x20 }
            let sum = bytes[start..<(start + 512)].reduce(0) { $0 + Int($1) }
            bytes.replaceSubrange((start + 148)..<(start + 154), with: octal(sum, width: 6))
            bytes[start + 154] = 0
        }
    }
}
