// SPDX-License-Identifier: Apache-2.0

// A plain target cannot import Testing in a release build, where the module is not in the search path.
#if canImport(Testing)
import Glibc
package import Testing

/// Gates a suite on what the machine has: `@Suite(.requires(.root, .overlay))`.
///
/// What is missing is printed as `SKIPPED: <reason>`; with REQUIRE_ALL_GATES=1 in the environment it is a failure,
/// unless the same test is about to run in the other kernel (STRATA_OTHER_KERNEL=1), which has it.
/// Gate suites or whole test functions: a skipped case of a parameterised test prints as passed.
package struct Requires: SuiteTrait, TestTrait {
    package let needs: [Need]

    package func prepare(for test: Test) async throws {
        let unmet = needs.compactMap { need in need.unmet.map { (need: need, reason: $0) } }
        guard let reason = unmet.first?.reason else { return }
        if let value = getenv("REQUIRE_ALL_GATES"), String(cString: value) != "0",
            !unmet.allSatisfy(\.need.isMetInOtherKernel)
        {
            throw UnmetNeed(description: "REQUIRE_ALL_GATES is set, but \(reason)")
        }
        try Test.cancel("SKIPPED: \(reason)")
    }
}

/// Why a test that had to run could not.
package struct UnmetNeed: Error, CustomStringConvertible {
    package let description: String
}

extension Trait where Self == Requires {
    package static func requires(_ needs: Need...) -> Requires { Requires(needs: needs) }
}
#endif
