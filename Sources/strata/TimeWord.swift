// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Glibc
import LinuxSys

/// A point in time as `logs --since` takes it: RFC 3339, a date with or without a time of day, seconds since 1970, or a
/// duration before now.
enum TimeWord {
    static func parse(_ text: String) throws -> Timestamp {
        if let time = Timestamp(rfc3339: text) { return time }
        if let seconds = Int64(text) { return Timestamp(seconds: seconds) }
        if let time = local(text) { return time }
        if let duration = try? Quantity.duration(text) {
            var time = Timestamp.now
            time.seconds -= duration.components.seconds
            return time
        }
        throw EngineError(
            .usage,
            "invalid time '\(text)': write 2026-01-02T15:04:05Z, 2026-01-02, seconds since 1970, or 10m"
        )
    }

    /// A date, or a date and time, without a zone: it is meant where the user is.
    private static func local(_ text: String) -> Timestamp? {
        for rest in ["Z", ":00Z", ":00:00Z", "T00:00:00Z"] {
            guard var time = Timestamp(rfc3339: text + rest) else { continue }
            var parts = tm()
            var seconds = time_t(time.seconds)
            if gmtime_r(&seconds, &parts) == nil { return nil }
            parts.tm_isdst = -1
            time.seconds = Int64(mktime(&parts))
            return time
        }
        return nil
    }
}
