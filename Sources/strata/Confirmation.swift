// SPDX-License-Identifier: Apache-2.0

import Engine
import Glibc
import LinuxSys

/// A question whose answer must be yes.
enum Confirmation {
    static func ask(_ question: String) throws -> Bool {
        Console.output.write(question + " ")
        var answer: UInt8 = 0
        var line: [UInt8] = []
        while true {
            guard try Stall.wait(STDIN_FILENO, for: POLLIN) else {
                throw EngineError(.interrupted, "interrupted: nothing was removed")
            }
            if try system("read", nil, { read(STDIN_FILENO, &answer, 1) }) != 1 { break }
            if answer == UInt8(ascii: "\n") { break }
            line.append(answer)
        }
        return ["y", "yes"].contains(String(decoding: line, as: UTF8.self).lowercased())
    }
}
