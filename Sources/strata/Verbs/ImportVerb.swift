// SPDX-License-Identifier: Apache-2.0

import Command

enum ImportVerb {
    static let declaration = VerbDeclaration(
        "Import the contents from a tarball to create a filesystem image",
        description: "The tarball may be plain or packed with gzip, zstd, xz or bzip2.",
        usage: ["file|- [REPOSITORY[:TAG]]"],
        arguments: .between(1, 2),
        flags: [
            SharedFlags.changes,
            Flag("message", "m", .string, "Set commit message for imported image"),
            SharedFlags.noSync,
        ],
        examples: [
            .init(
                "debootstrap bookworm root && tar -C root -c . | strata import - debian",
                "Make an image of Debian"
            )
        ],
        completes: [.file, .image]
    )
}
