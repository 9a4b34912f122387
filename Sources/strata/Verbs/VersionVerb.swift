// SPDX-License-Identifier: Apache-2.0

import Command
import Glibc

enum VersionVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show the version of strata and of what it runs on",
        section: .common
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        var names = utsname()
        guard uname(&names) == 0 else { return 1 }
        Console.output.write(
            """
            Version:  \(Strata.version)
            OS/Arch:  linux/\(text(names.machine))
            Kernel:   \(text(names.release))

            """
        )
        return 0
    }

    /// The text in one of the fixed arrays that `uname` fills.
    private static func text<Tuple>(_ field: Tuple) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
