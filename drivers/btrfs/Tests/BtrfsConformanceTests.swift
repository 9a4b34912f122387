// SPDX-License-Identifier: Apache-2.0

import BtrfsDriver
import DriverConformance
import TestGates
import Testing

@Suite(
    .requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs"), .deviceNodes)
)
struct BtrfsConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func conforms(_ testCase: ConformanceCase) throws {
        let place = try LoopFileSystem.shared("btrfs").path
        try testCase.run(
            on: ConformanceSubject("btrfs", directory: place) { try BtrfsDriver(home: $0, options: [:]) }
        )
    }
}
