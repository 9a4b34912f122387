// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Supervisor

extension Attachment {
    /// What `-i`, `--sig-proxy` and `--detach-keys` say, where the verb has them.
    init(_ parsed: Parsed) throws {
        self.init()
        if parsed.declares("interactive") { input = parsed.flag("interactive") }
        if parsed.declares("sig-proxy") { proxiesSignals = parsed.flag("sig-proxy") }
        if let text = parsed.string("detach-keys") {
            guard let keys = DetachKeys(text) else {
                throw EngineError(.usage, "invalid detach keys (\(text)): write them as ctrl-p,ctrl-q")
            }
            detachKeys = keys
        }
    }
}
