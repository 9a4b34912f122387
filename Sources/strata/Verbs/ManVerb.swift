// SPDX-License-Identifier: Apache-2.0

import Command
import LinuxSys
import Storage
import SystemPackage

/// Writes the manual; for packagers and the install script, so not listed.
enum ManVerb: Verb {
    static let declaration = VerbDeclaration(
        "Print a manual page, or write all of them into a directory",
        usage: ["[COMMAND...]"],
        arguments: .any,
        flags: [Flag("directory", .string, "Write all pages here, as NAME.1", completes: .directory)],
        section: .hidden,
        completes: [.verb]
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let program = Strata.program
        guard let directory = parsed.string("directory") else {
            Console.output.write(program.manual(try program.topic(parsed.arguments), version: Strata.version))
            return 0
        }
        for page in program.manualPages(version: Strata.version) {
            let path = FilePath(directory).appending("\(page.name).1")
            do {
                try write(page.text, to: path)
            } catch let errno as Errno {
                throw StorageError(SystemError("write", path.string, errno), doing: "write the manual page")
            }
        }
        return 0
    }

    private static func write(_ text: String, to path: FilePath) throws {
        let file = try FileDescriptor.open(
            path,
            .writeOnly,
            options: [.create, .truncate],
            permissions: FilePermissions(rawValue: 0o644)
        )
        try file.closeAfter { _ = try file.writeAll(text.utf8) }
    }
}
