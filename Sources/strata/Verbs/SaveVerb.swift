// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images
import LinuxSys
import SystemPackage

enum SaveVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let engine = try parsed.engine(.write)
        let what = "Saving \(parsed.arguments.joined(separator: " "))"
        return try ByteProgress.during(what) { try save(parsed, from: engine) }
    }

    private static func save(_ parsed: Parsed, from engine: Engine) throws -> Int32 {
        let format = ArchiveFormat(rawValue: parsed.string("format") ?? "") ?? .dockerArchive
        guard let output = parsed.word("output").map({ FilePath($0.bytes) }) else {
            guard format != .ociDirectory else {
                throw EngineError(.usage, "save as oci-dir: name the directory with --output")
            }
            try engine.save(parsed.arguments, as: format, to: .descriptor(try OutputFile.standardOutput()))
            return 0
        }
        if format == .ociDirectory {
            try engine.save(parsed.arguments, as: format, to: .directory(output))
            return 0
        }
        try OutputFile.write(output) { try engine.save(parsed.arguments, as: format, to: .descriptor($0)) }
        return 0
    }
}
