// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import LinuxSys
import Storage
import Synchronization
import TestGates
import Testing

@testable import DeviceMapperDriver

@Suite(.requires(.root, .thinPools, .deviceNodes), .serialized)
struct DeviceMapperConformanceTests {
    /// Each layer is a device that is made, mounted and discarded.
    @Test(arguments: ConformanceCase.withoutLongest)
    func conforms(_ testCase: ConformanceCase) throws {
        let pools = OpenedPools()
        defer { pools.stop() }
        try testCase.run(
            on: ConformanceSubject("devicemapper") { home in
                let driver = try DeviceMapperDriver(home: home, options: ["dm.basesize": "128m"])
                let name = try driver.pool.locked { $0.name }
                pools.names.withLock { $0.append(name) }
                return driver
            }
        )
    }
}

/// The pools of a test, which the kernel keeps beyond their files.
final class OpenedPools: Sendable {
    let drivers = Mutex<[DeviceMapperDriver]>([])
    let names = Mutex<[String]>([])

    func stop() {
        for driver in drivers.withLock({ $0 }) { try? driver.stopPool() }
        for name in names.withLock({ $0 }) {
            _ = try? Retry.whileBusy { () throws(SystemError) in
                try DeviceMapper.remove(name, deferred: false)
            }
        }
    }
}

extension Need {
    /// Device-mapper with thin pools.
    static let thinPools = Need.kernel(
        "thin pools",
        unmet: {
            switch DeviceMapperDriver.probe(home: TemporaryDirectory.base) {
            case .works: nil
            case .unavailable(let reason, _): reason
            case .failed(let error): error.message
            }
        }
    )
}
