// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Glibc
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
        let pool = try SharedPool.get()
        try testCase.run(
            on: ConformanceSubject("devicemapper", home: pool.driver.home) { _ in try pool.cleared() }
        )
    }
}

/// The pool of all cases: to make one takes longer than most of them.
private final class SharedPool: Sendable {
    let driver: DeviceMapperDriver
    private let directory: TemporaryDirectory

    private init() throws {
        directory = try TemporaryDirectory()
        driver = try DeviceMapperDriver(home: directory.appending("home"), options: ["dm.basesize": "128m"])
        try driver.startPool()
    }

    deinit { try? driver.stopPool() }

    /// The driver, without what a case that failed has left.
    func cleared() throws -> DeviceMapperDriver {
        for id in try driver.list() { try driver.remove(id) }
        try driver.emptyTrash { false }
        return driver
    }

    private static let present = Mutex<SharedPool?>(nil)

    static func get() throws -> SharedPool {
        try present.withLock { present in
            if let present { return present }
            // Nothing releases what is static.
            atexit { SharedPool.present.withLock { $0 = nil } }
            let new = try SharedPool()
            present = new
            return new
        }
    }
}

/// The pools of a test, which the kernel keeps beyond their files.
final class OpenedPools: Sendable {
    let drivers = Mutex<[DeviceMapperDriver]>([])

    func stop() {
        for driver in drivers.withLock({ $0 }) { try? driver.stopPool() }
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
