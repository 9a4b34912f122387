// SPDX-License-Identifier: Apache-2.0

import Engine
import Glibc

/// An extended regular expression (regex(7)), found anywhere in a text.
final class Pattern {
    private var expression = regex_t()

    init(_ text: String) throws {
        guard regcomp(&expression, text, REG_EXTENDED | REG_NOSUB) == 0 else {
            throw EngineError(.usage, "invalid pattern '\(text)': it is no regular expression")
        }
    }

    deinit { regfree(&expression) }

    func matches(_ text: String) -> Bool { regexec(&expression, text, 0, nil, 0) == 0 }
}
