// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import SystemPackage
import TestGates
import Testing
import UnionFSDriver

@Suite(.requires(.root, .path("/dev/fuse"), .deviceNodes))
struct UnionFSConformanceTests {
    /// Each layer is sealed through a server of its own.
    @Test(arguments: ConformanceCase.withoutLongest)
    func conforms(_ testCase: ConformanceCase) throws {
        let subject = ConformanceSubject("unionfs", departures: .whiteoutNames) { home in
            try UnionFSDriver(home: home, options: [:])
        }
        try testCase.run(on: subject)
    }
}
