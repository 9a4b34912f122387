// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// A bounded stream of bytes from one producing thread to a fixed number of readers, each of which sees all of it.
///
/// The memory is mapped twice in a row, so whatever lies between two positions is contiguous: headers, the content of
/// a small file and large pieces of a big one are used where they are, without a copy. Pages are touched as they are
/// first used, so a short stream costs little.
///
/// Producer and readers take the lock once a batch, not once an item. A side that has to wait is woken only when there is
/// what it asked for and enough to do for a while: to wake up another processor costs as much as many items.
///
/// What the producer and a reader ask for at once may be no more than half of the capacity each: else both could wait.
final class StreamRing: @unchecked Sendable {
    let capacity: Int
    private let base: UnsafeMutableRawPointer
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// The producer's, then each reader's.
    private let conditions: UnsafeMutablePointer<pthread_cond_t>
    private let sides: UnsafeMutableBufferPointer<Side>
    /// The first failure; what was committed before can still be read, unless the ring was cancelled.
    private var failure: (any Error)?
    private var isEnded = false
    private var isCancelled = false

    /// Positions count all bytes since the start; `wanted` is the position that ends a wait.
    private struct Side {
        var position = 0
        var wanted: Int?
    }

    private static let producer = 0

    init(capacity: Int, readers: Int) throws(SystemError) {
        self.capacity = capacity
        base = try Self.map(capacity)
        conditions = .allocate(capacity: 1 + readers)
        sides = .allocate(capacity: 1 + readers)
        sides.initialize(repeating: Side())
        pthread_mutex_init(mutex, nil)
        for side in sides.indices { pthread_cond_init(conditions + side, nil) }
    }

    deinit {
        for side in sides.indices { pthread_cond_destroy(conditions + side) }
        pthread_mutex_destroy(mutex)
        conditions.deallocate()
        mutex.deallocate()
        sides.deallocate()
        munmap(base, 2 * capacity)
    }

    private static func map(_ capacity: Int) throws(SystemError) -> UnsafeMutableRawPointer {
        let closeOnExec: UInt32 = 1
        let file = try system("memfd_create") { clinux_memfd_create("strata-ring", closeOnExec) }
        let memory = OwnedFD(adopting: file)
        try system("ftruncate") { ftruncate(memory.raw, off_t(capacity)) }
        let room = mmap(nil, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let room, room != MAP_FAILED else { throw SystemError("mmap", nil, .noMemory) }
        for half in 0..<2 {
            let place = room + half * capacity
            let mapped = mmap(place, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory.raw, 0)
            if mapped != place {
                munmap(room, 2 * capacity)
                throw SystemError("mmap", nil, .noMemory)
            }
        }
        return room
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    // MARK: The producer

    /// All free space, at least `count` bytes (at most `capacity`); waits for it.
    func reserve(_ count: Int) throws -> UnsafeMutableRawBufferPointer {
        try locked {
            let written = sides[Self.producer].position
            while written + count - slowestReader > capacity {
                if isCancelled { throw StreamCancelled() }
                // Half of it is free at the latest when a reader waits, who asks for no more than the other half.
                wait(Self.producer, for: max(written + count - capacity, written - capacity / 2))
            }
            if isCancelled { throw StreamCancelled() }
            return UnsafeMutableRawBufferPointer(
                start: base + written % capacity,
                count: capacity - (written - slowestReader)
            )
        }
    }

    /// Gives the first `count` reserved bytes to the readers.
    func commit(_ count: Int) {
        locked {
            sides[Self.producer].position += count
            wakeReaders()
        }
    }

    /// No more comes.
    ///
    /// With a failure, readers get it once they have read what was committed.
    func end(_ failure: (any Error)? = nil) {
        locked {
            if isEnded { return }
            isEnded = true
            self.failure = failure
            wakeReaders()
        }
    }

    // MARK: Readers

    /// From `position` on, at least `count` bytes (at most `capacity`), or fewer if the stream ends before.
    func read(_ reader: Int, from position: Int, atLeast count: Int) throws -> UnsafeRawBufferPointer {
        try locked {
            advance(reader, to: position)
            while sides[Self.producer].position - position < count, !isEnded, !isCancelled {
                wait(1 + reader, for: position + max(count, capacity / 16))
            }
            if isCancelled { throw StreamCancelled() }
            let available = sides[Self.producer].position - position
            if available < count, let failure { throw failure }
            return UnsafeRawBufferPointer(start: base + position % capacity, count: available)
        }
    }

    /// Says that the reader needs nothing before `position` any more.
    func release(_ reader: Int, to position: Int) {
        locked { advance(reader, to: position) }
    }

    /// Makes every wait, now and later, throw `StreamCancelled`.
    ///
    /// From any thread, any number of times.
    func cancel() {
        locked {
            isCancelled = true
            for side in sides.indices { pthread_cond_signal(conditions + side) }
        }
    }

    // MARK: With the lock held

    private var slowestReader: Int {
        var slowest = Int.max
        for side in 1..<sides.count { slowest = min(slowest, sides[side].position) }
        return slowest
    }

    private func advance(_ reader: Int, to position: Int) {
        sides[1 + reader].position = position
        guard let wanted = sides[Self.producer].wanted, slowestReader >= wanted else { return }
        pthread_cond_signal(conditions + Self.producer)
    }

    private func wakeReaders() {
        let written = sides[Self.producer].position
        for side in 1..<sides.count {
            guard let wanted = sides[side].wanted, isEnded || written >= wanted else { continue }
            pthread_cond_signal(conditions + side)
        }
    }

    private func wait(_ side: Int, for position: Int) {
        sides[side].wanted = position
        pthread_cond_wait(conditions + side, mutex)
        sides[side].wanted = nil
    }
}

/// The stream was cancelled by its owner; never shown to a user.
struct StreamCancelled: Error {}
