// SPDX-License-Identifier: Apache-2.0

import Command

enum DriverInfoVerb {
    static let declaration = VerbDeclaration(
        "Show how a storage driver stands",
        usage: ["[DRIVER]"],
        arguments: .atMost(1),
        flags: [SharedFlags.format],
        completes: [.driver]
    )
}
