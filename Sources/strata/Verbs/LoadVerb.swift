// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images
import SystemPackage

enum LoadVerb: Verb {
    static let declaration = VerbDeclaration(
        "Load an image from a tar archive or STDIN",
        description: """
            Reads docker-archive and oci-archive tars and OCI image layout directories,
            with layers as plain tar, gzip or zstd.
            """,
        flags: [
            Flag("input", "i", .string, "Read from tar archive file, instead of STDIN", completes: .file),
            SharedFlags.noSync,
            Flag("no-unpack", .bool, "Leave the layers packed until a container needs them"),
            Flag("quiet", "q", .bool, "Suppress the load output"),
        ],
        examples: [
            .init("strata load -i image.tar", "Load an image that 'docker save' wrote"),
            .init("skopeo copy docker://alpine oci:alpine && strata load -i alpine", "Load an OCI directory"),
        ],
        section: .common
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let progress = parsed.flag("quiet") ? nil : LayerProgressLines()
        let engine = try parsed.engine(.write, durable: !parsed.flag("no-sync"))
        let loaded: [LoadedImage]
        do {
            defer { progress?.finish() }
            loaded = try engine.load(
                parsed.word("input").map { FilePath($0.bytes) },
                unpack: !parsed.flag("no-unpack"),
                progress: { progress?.show($0) }
            )
        }
        for message in loaded.flatMap(\.messages) { Console.output.write(message + "\n") }
        return 0
    }
}
