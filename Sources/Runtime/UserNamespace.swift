// SPDX-License-Identifier: Apache-2.0

import Glibc
import Launch
package import LinuxSys
import SystemPackage

/// A user namespace without a process, which only says how ids are mapped (mount_setattr(2), MOUNT_ATTR_IDMAP).
package enum UserNamespace {
    /// Makes one with the mappings of `linux`.
    ///
    /// Cost: a short-lived process.
    package static func make(_ linux: Spec.Linux) throws(RuntimeError) -> OwnedFD {
        let gate = try attempt("make a pipe") { () throws(SystemError) in try Pipe() }
        let plan = LaunchPlan([.wait(descriptor: gate.reader.raw, for: "the end of its use")])
        do throws(LaunchError) {
            let launch = try plan.launch(LaunchContext(namespaces: .user))
            let path = "/proc/\(launch.pid)/ns/user"
            var namespace: OwnedFD?
            var failure: LaunchError?
            do throws(LaunchError) {
                try IDMaps.write(linux, pid: launch.pid)
                do throws(SystemError) { namespace = try Files.open(path, O_RDONLY) } catch {
                    throw LaunchError(error)
                }
            } catch {
                failure = error
            }
            launch.abandon()
            withExtendedLifetime(gate) {}
            if let failure { throw failure }
            if let namespace { return namespace }
            throw LaunchError("open the user namespace", .badFileDescriptor)
        } catch {
            throw RuntimeError(error)
        }
    }
}
