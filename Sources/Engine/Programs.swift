// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage
import StoreRoot
import SystemPackage

/// The programs of this installation: beside this one, else in `../libexec/strata`.
enum Programs {
    static func supervisor() throws -> FilePath { try find("strata-supervisor") }

    /// The words that call `strata` on the same store, without a verb.
    static func strata(_ options: Engine.Options, _ root: StoreRoot) throws -> [String] {
        var words = [try own().string, "--root", root.path.string]
        if let run = options.runRoot { words += ["--run-root", run.string] }
        return words
    }

    private static func own() throws -> FilePath {
        try doing("find this program") {
            let path = FilePath(String(decoding: try Files.readLink("/proc/self/exe"), as: UTF8.self))
            // A program that was replaced while it ran.
            let deleted = " (deleted)"
            return path.string.hasSuffix(deleted)
                ? FilePath(String(path.string.dropLast(deleted.count))) : path
        }
    }

    private static func find(_ name: String) throws -> FilePath {
        let folder = try own().removingLastComponent()
        let places = [
            folder.appending(name),
            folder.removingLastComponent().appending("libexec/strata").appending(name),
        ]
        for place in places where try Files.status(place) != nil { return place }
        throw EngineError(
            .failed,
            "find \(name): it is neither at \(places[0]) nor at \(places[1]): install it there"
        )
    }
}

extension Engine {
    /// The words that call `strata` on this store, the program's path first, without a verb.
    package func command() throws -> [String] { try Programs.strata(options, root) }
}
