// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage
import StoreRoot
import SystemPackage

enum Programs {
    static func supervisor() throws -> FilePath {
        try doing("start the supervisor") { try InstalledProgram.find("strata-supervisor") }
    }

    /// The words that call `strata` on the same store, without a verb.
    static func strata(_ options: Engine.Options, _ root: StoreRoot) throws -> [String] {
        var words = [try InstalledProgram.own().string, "--root", root.path.string]
        if let run = options.runRoot { words += ["--run-root", run.string] }
        return words
    }
}

extension Engine {
    /// The words that call `strata` on this store, the program's path first, without a verb.
    package func command() throws -> [String] { try Programs.strata(options, root) }
}
