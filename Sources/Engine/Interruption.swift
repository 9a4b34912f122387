// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Synchronization

/// Ctrl-C and SIGTERM during a long operation: asked for, not acted on in the handler, so that the operation
/// can undo what it began.
package enum Interruption {
    private static let signal = Atomic<CInt>(0)

    /// Whether the user wants it to end.
    package static var isRequested: Bool { signal.load(ordering: .relaxed) != 0 }

    /// The signal that came, 0 for none.
    package static var received: CInt { signal.load(ordering: .relaxed) }

    /// Starts to listen; for verbs that ask `isRequested`.
    ///
    /// - Parameter once: a second one ends the process as usual. Else none does: for what has to clean up in any case.
    package static func listen(once: Bool = true) {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { received in
                Interruption.signal.store(received, ordering: .relaxed)
                Stall.end()
            }
            if once { action.sa_flags = CInt(bitPattern: SA_RESETHAND) }
            sigaction(number, &action, nil)
        }
    }
}
