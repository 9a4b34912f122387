// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import SystemPackage

/// A fresh directory (mode 0700) that goes, with all that is in it, when the last reference to it goes.
///
/// It lies below TMPDIR, else /tmp, unless another place is given. Names in it may be any bytes and paths in it longer than PATH_MAX.
/// Whoever uses only its path must keep it alive meanwhile: a property of the suite, or `withExtendedLifetime`.
package final class TemporaryDirectory: Sendable {
    package let path: FilePath
    private let directory: OwnedFD

    package init(below base: FilePath = TemporaryDirectory.base) throws {
        let name = "strata-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        path = base.appending(name)
        try Files.makeDirectory(path)
        directory = try Files.openDirectory(path)
    }

    deinit {
        do {
            try Files.removeTree(path)
        } catch {
            // What lies on a file system of the test's own goes with that.
            if path.removingLastComponent() != Self.base { return }
            try? Files.writeAll(Array("cannot remove \(path): \(error)\n".utf8), to: STDERR_FILENO)
        }
    }

    /// The open directory, valid as long as this object.
    package var fd: CInt { directory.raw }

    /// The path of `name` in it.
    package func appending(_ name: String) -> FilePath { path.appending(name) }

    package static let base = FilePath(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")
}
