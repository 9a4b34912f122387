// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
import SystemPackage

/// A thread that runs one closure and must be joined.
///
/// It takes no signals from others: they belong to the threads that the program knows of.
package final class Thread: Sendable {
    private let handle: pthread_t

    package init(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let box = Unmanaged.passRetained(Body(body))
        var everything = sigset_t()
        var before = sigset_t()
        sigfillset(&everything)
        // What it causes itself, for which there may be a handler.
        sigdelset(&everything, SIGBUS)
        pthread_sigmask(SIG_SETMASK, &everything, &before)
        var handle = pthread_t()
        let failure = pthread_create(&handle, nil, Self.start, box.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        if failure != 0 {
            box.release()
            throw SystemError("pthread_create", nil, Errno(rawValue: failure))
        }
        self.handle = handle
    }

    private static let start: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = {
        argument in
        if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
    }

    /// Waits for the end.
    ///
    /// Once.
    package func join() { pthread_join(handle, nil) }

    /// Makes the calling thread one that does not interrupt a running one when it wakes (SCHED_BATCH), and that gets less
    /// of a processor that it shares.
    ///
    /// For threads that others do not wait for: with few processors they would otherwise stop those that are waited
    /// for hundreds of times a second. It is only a hint, so failure does not matter.
    static func yieldToOthers() {
        let batch: CInt = 3  // a GNU macro that Swift does not see
        var parameters = sched_param()
        sched_setscheduler(0, batch, &parameters)
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 5)  // of this thread alone, in Linux
    }

    private final class Body: Sendable {
        let run: @Sendable () -> Void

        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
}
