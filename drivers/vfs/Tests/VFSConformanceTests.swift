// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import TestGates
import Testing
import VFSDriver

@Suite(.requires(.root, .deviceNodes))
struct VFSConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func conforms(_ testCase: ConformanceCase) throws {
        try testCase.run(on: ConformanceSubject("vfs") { try VFSDriver(home: $0, options: [:]) })
    }
}
