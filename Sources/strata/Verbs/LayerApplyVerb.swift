// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Glibc
import LinuxSys
import Storage
import SystemPackage

enum LayerApplyVerb: Verb {
    static let declaration = VerbDeclaration(
        "Unpack a layer tar as a new layer and print its ID",
        description: "The tar may be plain or packed with gzip, zstd, xz or bzip2.",
        usage: ["FILE|-"],
        arguments: .exactly(1),
        flags: [
            Flag("parent", "p", .string, "Layer that the new one stands on", completes: .layer),
            SharedFlags.noSync,
        ],
        examples: [
            .init("strata layer apply -p k3x9q2ab layer.tar.gz", "Unpack a packed layer over another")
        ],
        completes: [.file]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let name = parsed.words[0]
        let path = FilePath(name.bytes)
        let file = SharedFD(
            name.text == "-"
                ? try .duplicating(STDIN_FILENO)
                : try doing("open \(path)") { try Files.open(path, O_RDONLY) }
        )
        let engine = try parsed.engine(.write, durable: !parsed.flag("no-sync"))
        let label = name.text == "-" ? "standard input" : name.text
        Console.output.write("\(try engine.applyLayer(file, label: label, over: parsed.string("parent")))\n")
        return 0
    }
}
