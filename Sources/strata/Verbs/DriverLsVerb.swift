// SPDX-License-Identifier: Apache-2.0

import Command

enum DriverLsVerb {
    static let declaration = VerbDeclaration(
        "List storage drivers and whether they work here",
        flags: [
            SharedFlags.listFormat,
            Flag("quiet", "q", .bool, "Only display the names of drivers that work here"),
        ],
        examples: [.init("strata driver ls", "Show why a driver does not work here, and what to do")]
    )
}
