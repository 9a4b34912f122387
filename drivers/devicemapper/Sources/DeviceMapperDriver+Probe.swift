// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
package import SystemPackage

extension DeviceMapperDriver {
    /// Makes a small pool on two files in a scratch directory, with a layer and a snapshot of it, and mounts that.
    package static func probe(home: FilePath) -> ProbeResult {
        guard geteuid() == 0 else {
            return .unavailable(reason: "device-mapper needs root", remedy: "run as root, or use vfs")
        }
        if let why = DeviceMapper.missing {
            return .unavailable(
                reason: "libdevmapper cannot be loaded: \(why)",
                remedy: "install the package libdevmapper1.02.1"
            )
        }
        do {
            _ = try DeviceMapper.version(ofTarget: "thin-pool")
        } catch {
            return .unavailable(
                reason: "the kernel has no device-mapper (\(error.errno))",
                remedy: "load the module dm-thin-pool, or use a kernel with CONFIG_DM_THIN_PROVISIONING"
            )
        }
        do {
            try tryPool(below: try Files.nearestDirectory(to: home))
            let version = try DeviceMapper.version(ofTarget: "thin-pool") ?? "?"
            return .works(detail: "thin-pool \(version)")
        } catch let error as StorageError {
            return .unavailable(reason: error.message, remedy: error.remedy)
        } catch {
            return .unavailable(reason: "a thin pool cannot be made at \(home): \(error)", remedy: nil)
        }
    }

    private static func tryPool(below directory: FilePath) throws {
        let scratch = directory.appending(".strata-probe-\(UInt64.random(in: 0...UInt64.max))")
        defer { try? Files.removeTree(scratch) }
        let driver = try Self(home: scratch, options: ["dm.basesize": "64m"])
        defer { try? driver.pool.stop() }
        guard let id = LayerID("aaaaaaaa") else { return }
        try driver.prepare(id, over: LayerChain(), options: LayerOptions())
        _ = try driver.mount(id, over: LayerChain(), access: .readWrite)
    }
}
