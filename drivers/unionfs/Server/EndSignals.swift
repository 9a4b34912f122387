// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// The signals with which people and service managers end a process, and mean its mount: that goes with it.
enum EndSignals {
    static let numbers = [SIGTERM, SIGINT, SIGHUP]

    // What a handler needs, set before there is one.
    nonisolated(unsafe) private static var mountPoint: UnsafeMutablePointer<CChar>?
    nonisolated(unsafe) private static var device: UInt64 = 0
    nonisolated(unsafe) static var server: pid_t = 0

    /// Finds out where the mount is going to be, which cannot be asked any more when it is there and nobody serves it.
    static func prepare(_ mountPoint: String) { self.mountPoint = realpath(mountPoint, nil) }

    /// Notes the mount that is there now.
    static func noteMount() {
        if let mountPoint { device = cfuse_mounted_device(mountPoint) }
    }

    /// From now on they unmount what was noted, and end this process and its server.
    static func handle() {
        for number in numbers {
            signal(number) { number in
                if let mountPoint = EndSignals.mountPoint { cfuse_unmount(mountPoint, EndSignals.device) }
                if EndSignals.server > 0 { kill(EndSignals.server, SIGKILL) }
                _exit(128 &+ number)
            }
        }
    }

    /// For a server, whom its keeper ends.
    static func leave() { for number in numbers { signal(number, SIG_DFL) } }
}
