// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys

/// A question whose answer must be yes.
enum Confirmation {
    static func ask(_ question: String) throws -> Bool {
        Console.output.write(question + " ")
        var answer: UInt8 = 0
        var line: [UInt8] = []
        while try system("read", nil, { read(STDIN_FILENO, &answer, 1) }) == 1, answer != UInt8(ascii: "\n") {
            line.append(answer)
        }
        return ["y", "yes"].contains(String(decoding: line, as: UTF8.self).lowercased())
    }
}
