// SPDX-License-Identifier: Apache-2.0

import Glibc
import Launch
import LinuxSys
import SystemPackage

/// Writes the id maps of a new user namespace from outside: only there is the privilege for more than one id.
enum IDMaps {
    ///
    /// - Parameter go: a pipe on which the process waits for a byte.
    static func write(_ linux: Spec.Linux, pid: CInt, then go: CInt? = nil) throws(LaunchError) {
        do throws(SystemError) {
            try write(linux.uidMappings, to: "/proc/\(pid)/uid_map")
            try write(linux.gidMappings, to: "/proc/\(pid)/gid_map")
            if let go { try Files.writeAll([1], to: go) }
        } catch {
            throw LaunchError(SystemError("write the id maps of the user namespace", error.path, error.errno))
        }
    }

    private static func write(_ maps: [Spec.IDMapping], to path: String) throws(SystemError) {
        let text = maps.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
        let file = try Files.open(path, O_WRONLY)
        do throws(SystemError) {
            try Files.writeAll(Array(text.utf8), to: file.raw)
        } catch {
            throw SystemError("write", path, error.errno)
        }
    }
}
