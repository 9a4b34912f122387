// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
import Storage
import Synchronization

/// Bytes on their way through memory, whose digest another thread computes meanwhile.
///
/// For one thread at a time. Memory: 4 MiB.
package final class HashedPassage {
    private let ring: StreamRing
    private let thread: Thread
    private let digest: Outcome
    private var isJoined = false

    private final class Outcome: Sendable {
        let digest = Mutex<Digest?>(nil)
    }

    private static let capacity = 4 << 20
    /// What is taken, and used, at once.
    private static let piece = 1 << 20
    /// What is hashed at once: little, for it is read from a cache.
    private static let hashed = 128 << 10

    package init() throws(SystemError) {
        let ring = try StreamRing(capacity: Self.capacity, readers: 1)
        let outcome = Outcome()
        thread = try Thread { Self.hash(ring, outcome) }
        self.ring = ring
        digest = outcome
    }

    deinit {
        ring.cancel()
        if !isJoined { thread.join() }
    }

    /// The next bytes, which `read` puts where it is told; valid until the next call.
    ///
    /// - Parameter read: says how many it gave, 0 at the end.
    package func next(
        _ read: (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws -> UnsafeRawBufferPointer {
        let room = UnsafeMutableRawBufferPointer(rebasing: try ring.reserve(Self.piece)[..<Self.piece])
        let count = try read(room)
        // They may be read while they are hashed: only the next reserve gives the room to others.
        ring.commit(count)
        return UnsafeRawBufferPointer(rebasing: room[..<count])
    }

    /// The digest of all; once, and nothing passes any more.
    package func finish() -> Digest? {
        ring.end()
        thread.join()
        isJoined = true
        return digest.digest.withLock { $0 }
    }

    private static func hash(_ ring: StreamRing, _ outcome: Outcome) {
        let input = RingReader(ring, reader: 0)
        var hasher = SHA256Hasher()
        while true {
            guard let view = try? input.peek(hashed) else { return }  // cancelled
            if view.isEmpty { break }
            let piece = UnsafeRawBufferPointer(rebasing: view[..<min(view.count, hashed)])
            hasher.update(piece)
            input.advance(piece.count)
        }
        let digest = hasher.finish()
        outcome.digest.withLock { $0 = digest }
    }
}
