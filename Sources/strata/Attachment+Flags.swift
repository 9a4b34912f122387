// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LinuxSys
import Supervisor

extension Attachment {
    /// What `-i`, `--sig-proxy` and `--detach-keys` say, where the verb has them.
    init(_ parsed: Parsed) throws {
        self.init()
        if parsed.declares("interactive") { input = parsed.flag("interactive") }
        let wantsTerminal = parsed.declares("tty") && parsed.flag("tty")
        if input, wantsTerminal, !Terminal.isTerminal(0) {
            throw NotATerminal()
        }
        if parsed.declares("sig-proxy") { proxiesSignals = parsed.flag("sig-proxy") }
        if let text = parsed.string("detach-keys") {
            guard let keys = DetachKeys(text) else {
                throw EngineError(.usage, "invalid detach keys (\(text)): write them as ctrl-p,ctrl-q")
            }
            detachKeys = keys
        }
    }
}

/// `-it` with an input that is no terminal: Docker's words and its exit code.
private struct NotATerminal: FailureWithStatus, CustomStringConvertible {
    let status: Int32 = 1
    let description = "the input device is not a TTY"
}
