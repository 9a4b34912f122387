// SPDX-License-Identifier: Apache-2.0

import JSON
package import LinuxSys
package import SystemPackage

/// How a container ended: the file `exit` in its run directory, which appears when it has.
package struct ExitRecord: Hashable, Sendable {
    /// As `docker wait` prints it: the exit code, or 128 and the signal.
    package var code: CInt
    /// Whether the kernel killed a process of it for want of memory.
    package var outOfMemory: Bool
    package var finished: Timestamp

    package init(code: CInt, outOfMemory: Bool = false, finished: Timestamp = .now) {
        self.code = code
        self.outOfMemory = outOfMemory
        self.finished = finished
    }

    package init?(_ bytes: [UInt8]) {
        guard let json = try? JSON.parse(bytes, limits: JSONLimits(size: 4096, depth: 2)),
            let code = json["code"]?.int.flatMap(CInt.init(exactly:)), let outOfMemory = json["oom"]?.bool,
            let finished = json["finished"]?.string.flatMap(Timestamp.init(rfc3339:))
        else { return nil }
        self.init(code: code, outOfMemory: outOfMemory, finished: finished)
    }

    package var bytes: [UInt8] {
        let json: JSON = [
            "code": .integer(code), "oom": .bool(outOfMemory), "finished": .string(finished.rfc3339),
        ]
        return json.bytes()
    }

    /// The record of the container whose run directory this is; `nil` if it has none.
    package static func read(_ runDirectory: FilePath) throws(SystemError) -> ExitRecord? {
        let path = runDirectory.appending(RunFile.exit)
        guard try Files.status(path) != nil else { return nil }
        return ExitRecord(try Files.contents(path, limit: 4096))
    }
}

/// The names in a container's run directory.
package enum RunFile {
    /// JSON: `pid`, `started`, `supervisor`; there while the container runs, and after.
    package static let state = "state"
    package static let exit = "exit"
    package static let control = "control"
}
