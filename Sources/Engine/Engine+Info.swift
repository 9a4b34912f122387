// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Images
package import JSON
import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot
import SystemPackage

extension Engine {
    /// What `info` prints, under Docker's names where Docker has the thing.
    package func info() throws -> JSONObject {
        let states = try containers.all().map { try state(of: $0).status }
        let running = states.count { $0 == .running }
        let paused = states.count { $0 == .paused }
        var system = utsname()
        uname(&system)
        let release = withUnsafeBytes(of: &system.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let machine = withUnsafeBytes(of: &system.machine) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return [
            "Containers": .integer(states.count),
            "ContainersRunning": .integer(running),
            "ContainersPaused": .integer(paused),
            "ContainersStopped": .integer(states.count - running - paused),
            "Images": .integer(Set(try images.list(all: true).map { $0.image.id }).count),
            "Driver": .string(try driverName()),
            "Drivers": .strings(layers.entries.map(\.name)),
            "Layers": .integer(try layers.layers().count),
            "CgroupVersion": .string(cgroupVersion()),
            "KernelVersion": .string(release),
            "OSType": "linux",
            "Architecture": .string(machine),
            "NCPU": .integer(sysconf(CInt(_SC_NPROCESSORS_ONLN))),
            "MemTotal": .integer(sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE))),
            "Root": .string(root.path.string),
            "RunRoot": .string(root.runPath.string),
        ]
    }

    private func cgroupVersion() -> String {
        switch CgroupHierarchies.detect()?.version {
        case .v1: "1"
        case .v2: "2"
        case nil: "none"
        }
    }
}
