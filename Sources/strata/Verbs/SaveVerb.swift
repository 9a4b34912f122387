// SPDX-License-Identifier: Apache-2.0

import Command

enum SaveVerb {
    static let declaration = VerbDeclaration(
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        usage: ["IMAGE [IMAGE...]"],
        arguments: .atLeast(1),
        flags: [
            Flag(
                "format",
                .string,
                "Form of the archive (\"docker-archive\", \"oci-archive\", \"oci-dir\")",
                defaultValue: "docker-archive",
                values: ["docker-archive", "oci-archive", "oci-dir"]
            ),
            Flag("output", "o", .string, "Write to a file, instead of STDOUT", completes: .file),
        ],
        examples: [
            .init("strata save -o busybox.tar busybox", "Save an image so that 'docker load' reads it")
        ],
        completes: [.image]
    )
}
