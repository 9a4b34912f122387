// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization

/// Waits for pipes, sockets and terminals, on whose other side nothing may happen for long.
///
/// A signal interrupts a system call of one thread, which need not be the one that waits; so who waits here looks at an
/// eventfd(2) too.
package enum Stall {
    private static let isEnded = Atomic<Bool>(false)
    /// The eventfd, once somebody has waited.
    private static let event = Atomic<CInt>(-1)

    /// Ends all waits of the process, now and later; for handlers of signals, too.
    package static func end() {
        isEnded.store(true, ordering: .sequentiallyConsistent)
        let event = event.load(ordering: .sequentiallyConsistent)
        if event == -1 { return }
        var one = UInt64(1)
        _ = write(event, &one, MemoryLayout<UInt64>.size)
    }

    /// Returns when `fd` has some of `events` (poll(2)), or an error that the next call on it tells.
    ///
    /// - Returns: false if waits were ended.
    package static func wait(_ fd: CInt, for events: Int32) throws(SystemError) -> Bool {
        if event.load(ordering: .sequentiallyConsistent) == -1 {
            let new = try system("eventfd") { clinux_eventfd() }
            let others = event.compareExchange(expected: -1, desired: new, ordering: .sequentiallyConsistent)
            if !others.exchanged { close(new) }
        }
        if isEnded.load(ordering: .sequentiallyConsistent) { return false }
        let event = event.load(ordering: .sequentiallyConsistent)
        return try withUnsafeTemporaryAllocation(of: pollfd.self, capacity: 2) { set throws(SystemError) in
            set[0] = pollfd(fd: fd, events: Int16(events), revents: 0)
            set[1] = pollfd(fd: event, events: Int16(POLLIN), revents: 0)
            try system("poll") { poll(set.baseAddress, 2, -1) }
            return set[1].revents == 0
        }
    }
}
