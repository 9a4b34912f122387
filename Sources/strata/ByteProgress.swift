// SPDX-License-Identifier: Apache-2.0

import Format
import Glibc
import LayerDiff
import LinuxSys

/// How far a long command has come: on a terminal one line that is rewritten, elsewhere nothing.
///
/// What it shows is what this process has read and written by system calls, as the kernel counts it.
enum ByteProgress {
    /// Commands that are done by then show nothing.
    private static let firstAfter: CInt = 700
    private static let every: CInt = 200

    /// - Parameter what: as `Saving busybox`.
    static func during<T>(_ what: String, _ body: () throws -> T) throws -> T {
        guard Console.errors.isTerminal, let start = counts() else { return try body() }
        let end = try SharedEvent()
        let thread = try Thread {
            var wait = firstAfter
            var hasShown = false
            while !end.wait(milliseconds: wait) {
                wait = every
                guard let now = counts() else { break }
                let read = Human.size(now.read - start.read)
                let written = Human.size(now.written - start.written)
                Console.errors.write("\r\u{1B}[K\(what): \(read) read, \(written) written")
                hasShown = true
            }
            if hasShown { Console.errors.write("\r\u{1B}[K") }
        }
        defer {
            end.signal()
            thread.join()
        }
        return try body()
    }

    /// Bytes that went through read(2) and write(2) and their kin; `nil` where the kernel does not count them.
    private static func counts() -> (read: Int64, written: Int64)? {
        guard let bytes = try? Files.contents("/proc/self/io", limit: 4096) else { return nil }
        var values: [Substring: Int64] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":")
            if parts.count == 2 { values[parts[0]] = Int64(parts[1].drop { $0 == " " }) }
        }
        guard let read = values["rchar"], let written = values["wchar"] else { return nil }
        return (read, written)
    }
}
