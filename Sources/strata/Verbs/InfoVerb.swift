// SPDX-License-Identifier: Apache-2.0

import Command

enum InfoVerb {
    static let declaration = VerbDeclaration(
        "Display system-wide information",
        flags: [SharedFlags.format],
        section: .common
    )
}
