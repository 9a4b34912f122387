// SPDX-License-Identifier: Apache-2.0

import Command

enum CpVerb {
    static let declaration = VerbDeclaration(
        "Copy files/folders between a container and the local filesystem",
        description: """
            Use '-' as the source to read a tar archive from stdin
            and extract it to a directory destination in a container.
            Use '-' as the destination to stream a tar archive of a
            container source to stdout.
            """,
        usage: ["CONTAINER:SRC_PATH DEST_PATH|-", "SRC_PATH|- CONTAINER:DEST_PATH"],
        arguments: .exactly(2),
        flags: [
            Flag("archive", "a", .bool, "Archive mode (copy all uid/gid information)"),
            Flag("follow-link", "L", .bool, "Always follow symbol link in SRC_PATH"),
            Flag("quiet", "q", .bool, "Suppress progress output during copy"),
        ],
        examples: [
            .init("strata cp web:/etc/passwd .", "Copy a file out of a container"),
            .init("strata cp conf/. web:/etc/httpd", "Copy a directory's content into a container"),
        ],
        completes: [.file]
    )
}
