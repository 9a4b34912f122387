// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys

/// Whether a condition comes true, which is asked until it does.
///
/// The limit is for what never happens: it is generous, because a busy machine may keep any process waiting for
/// seconds, and costs nothing where the condition comes true.
///
/// - Parameters:
///   - seconds: How long it is asked.
///   - condition: Asked about every 10 ms.
/// - Throws: What the condition throws.
package func eventually(within seconds: Int64 = 60, _ condition: () throws -> Bool) rethrows -> Bool {
    let end = Timestamp.now.seconds + seconds
    while true {
        if try condition() { return true }
        if Timestamp.now.seconds > end { return false }
        usleep(10_000)
    }
}
