// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Images
import SystemPackage

enum ImportVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let source = parsed.words[0]
        var options = ImageImport(label: source.text == "-" ? "standard input" : source.text)
        if parsed.words.count > 1 {
            options.references = [try Reference(naming: parsed.arguments[1])]
        }
        options.changes = try ConfigChanges(parsed.list("change"))
        options.message = parsed.string("message") ?? "Imported from \(source.text)"
        let engine = try parsed.engine(.write, durable: !parsed.flag("no-sync"))
        let path = source.text == "-" ? nil : FilePath(source.bytes)
        let image = try ByteProgress.during("Importing \(options.label)") {
            try engine.importImage(path, options, unpack: true)
        }
        Console.output.write("\(image.id)\n")
        return 0
    }
}
