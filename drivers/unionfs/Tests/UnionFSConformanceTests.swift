// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Glibc
import SystemPackage
import TestGates
import Testing
import UnionFSDriver

@Suite(.requires(.root, .path("/dev/fuse"), .deviceNodes))
struct UnionFSConformanceTests {
    /// Each of 400 layers is sealed through a server of its own: that long form is for `--full`; `UnionTests` has 500
    /// layers under one mount.
    private static let cases =
        getenv("STRATA_TEST_FULL") != nil
        ? ConformanceCase.all : ConformanceCase.all.filter { $0.name != "400 layers" }

    @Test(arguments: cases)
    func conforms(_ testCase: ConformanceCase) throws {
        let subject = ConformanceSubject("unionfs", departures: .whiteoutNames) { home in
            try UnionFSDriver(home: home, options: [:])
        }
        try testCase.run(on: subject)
    }
}
