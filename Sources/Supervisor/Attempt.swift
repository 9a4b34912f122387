// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import SystemPackage

/// How a call on a descriptor that never waits went.
enum Attempt {
    case done(Int)
    /// Not now (EAGAIN).
    case later
    case failed

    init(_ operation: StaticString, _ call: () -> Int) {
        do throws(SystemError) {
            let answer = try systemAnswer(operation, expecting: .wouldBlock, .noBufferSpace, call: call)
            self = answer.map(Attempt.done) ?? .later
        } catch {
            self = .failed
        }
    }
}
