// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys

/// Whether a condition comes true, which is asked until it does.
///
/// The limit is for what never happens: it is generous, because a busy machine may keep any process waiting for
/// seconds, and costs nothing where the condition comes true. A clock that jumps, as that of the other kernel may, is no
/// proof that there was time, so the condition is asked a thousand times at least.
///
/// - Parameters:
///   - seconds: How long it is asked.
///   - condition: Asked about every 10 ms.
/// - Throws: What the condition throws.
package func eventually(within seconds: Int64 = 120, _ condition: () throws -> Bool) rethrows -> Bool {
    let end = Timestamp.now.seconds + seconds
    for attempt in 1... {
        if try condition() { return true }
        if attempt >= 1000 && Timestamp.now.seconds > end { break }
        usleep(10_000)
    }
    return false
}
