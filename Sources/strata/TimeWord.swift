// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import LinuxSys

/// A point in time as `logs --since` takes it: RFC 3339, seconds since 1970, or a duration before now.
enum TimeWord {
    static func parse(_ text: String) throws -> Timestamp {
        if let time = Timestamp(rfc3339: text) { return time }
        if let seconds = Int64(text) { return Timestamp(seconds: seconds) }
        if let duration = try? Quantity.duration(text) {
            var time = Timestamp.now
            time.seconds -= duration.components.seconds
            return time
        }
        throw EngineError(
            .usage,
            "invalid time '\(text)': write 2026-01-02T15:04:05Z, seconds since 1970, or 10m"
        )
    }
}
