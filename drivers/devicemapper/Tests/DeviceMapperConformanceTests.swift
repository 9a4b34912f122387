// SPDX-License-Identifier: Apache-2.0

import DeviceMapperDriver
import DriverConformance
import Storage
import Synchronization
import TestGates
import Testing

@Suite(.requires(.root, .thinPools, .deviceNodes), .serialized)
struct DeviceMapperConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func conforms(_ testCase: ConformanceCase) throws {
        let pools = OpenedPools()
        try testCase.run(
            on: ConformanceSubject("devicemapper") { home in
                let driver = try DeviceMapperDriver(home: home, options: ["dm.basesize": "128m"])
                try driver.startPool()
                pools.drivers.withLock { $0.append(driver) }
                return driver
            }
        )
    }
}

/// Takes the pools of a test away from the kernel, which keeps them.
final class OpenedPools: Sendable {
    let drivers = Mutex<[DeviceMapperDriver]>([])

    deinit { for driver in drivers.withLock({ $0 }) { try? driver.stopPool() } }
}

extension Need {
    /// Device-mapper with thin pools.
    static let thinPools = Need.other(
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
