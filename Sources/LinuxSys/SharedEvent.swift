// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization

/// Something that happens once, for a thread that waits for it: the writing end of a pipe is closed.
package final class SharedEvent: Sendable {
    private let output: OwnedFD
    private let input: Mutex<CInt>

    package init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&ends) }
        output = OwnedFD(adopting: ends[0])
        input = Mutex(ends[1])
    }

    deinit { signal() }

    package func signal() {
        input.withLock { end in
            if end >= 0 { _ = close(end) }
            end = -1
        }
    }

    /// Whether it has happened, waiting that long for it.
    package func wait(milliseconds: CInt) -> Bool {
        var list = [pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)]
        return (try? system("poll") { poll(&list, 1, milliseconds) }) ?? 1 > 0
    }
}
