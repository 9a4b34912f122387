// SPDX-License-Identifier: Apache-2.0

package import SystemPackage

/// The programs of this installation: beside this one, else in `../libexec/strata`.
package enum InstalledProgram {
    /// The program that runs now, wherever it was moved.
    package static func own() throws(SystemError) -> FilePath {
        let path = FilePath(String(decoding: try Files.readLink("/proc/self/exe"), as: UTF8.self))
        // A program that was replaced while it ran.
        let deleted = " (deleted)"
        return path.string.hasSuffix(deleted) ? FilePath(String(path.string.dropLast(deleted.count))) : path
    }

    /// Where `name` is; the error names both places.
    package static func find(_ name: String) throws(SystemError) -> FilePath {
        let folder = try own().removingLastComponent()
        let places = [
            folder.appending(name),
            folder.removingLastComponent().appending("libexec/strata").appending(name),
        ]
        for place in places where try Files.status(place) != nil { return place }
        throw SystemError(
            "find",
            "\(name), neither at \(places[0]) nor at \(places[1])",
            .noSuchFileOrDirectory
        )
    }
}
