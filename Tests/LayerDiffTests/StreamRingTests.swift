// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Testing

@testable import LayerDiff

/// The ring between the threads that read a layer.
struct StreamRingTests {
    private static let capacity = 64 << 10

    private static func byte(_ position: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: position &* 31 &+ position >> 8)
    }

    /// Reads `total` bytes in pieces of any size up to half the ring; what differs from what was written, and how many bytes
    /// came.
    private static func read(
        _ ring: StreamRing,
        _ reader: Int,
        seed: UInt64
    ) throws -> (wrong: Int, count: Int) {
        var random = SeededGenerator(seed: seed)
        var (position, wrong) = (0, 0)
        while true {
            let wanted = 1 + Int(random.next() % UInt64(capacity / 2))
            let view = try ring.read(reader, from: position, atLeast: wanted)
            if view.isEmpty { return (wrong, position) }
            let taken = min(view.count, wanted)
            for index in 0..<taken where view[index] != byte(position + index) { wrong += 1 }
            position += taken
            if random.next() % 4 == 0 { ring.release(reader, to: position) }
        }
    }

    @Test(
        "Producer and readers that wait for pieces of any size never wait for each other for ever",
        arguments: [1, 2, 3, 4, 5, 6, 7, 8]
    )
    func neverStops(_ seed: UInt64) throws {
        let readers = 1 + Int(seed % 2)
        let ring = try StreamRing(capacity: Self.capacity, readers: readers)
        let total = 5 << 20
        let producer = try Thread {
            var random = SeededGenerator(seed: seed &* 77)
            var written = 0
            while written < total {
                let wanted = 1 + Int(random.next() % UInt64(Self.capacity / 2))
                guard let room = try? ring.reserve(wanted) else { return }
                let count = min(total - written, random.next() % 3 == 0 ? room.count : wanted)
                for index in 0..<count { room[index] = Self.byte(written + index) }
                ring.commit(count)
                written += count
            }
            ring.end()
        }
        let other = try Thread {
            if readers == 2 { _ = try? Self.read(ring, 1, seed: seed &* 13) }
        }
        let found = try Self.read(ring, 0, seed: seed)
        other.join()
        producer.join()
        #expect(found.wrong == 0)
        #expect(found.count == total)
    }

    @Test("A reader that waits gets what there is at the end, and then the failure")
    func endsAWait() throws {
        struct Broken: Error {}
        let ring = try StreamRing(capacity: Self.capacity, readers: 1)
        let producer = try Thread {
            guard let room = try? ring.reserve(3) else { return }
            for index in 0..<3 { room[index] = Self.byte(index) }
            ring.commit(3)
            ring.end(Broken())
        }
        // Less than what is worth waking up for, and all there is.
        #expect(try Array(ring.read(0, from: 0, atLeast: 3)) == (0..<3).map(Self.byte))
        #expect(throws: Broken.self) { try ring.read(0, from: 3, atLeast: 1) }
        producer.join()
    }
}
