// SPDX-License-Identifier: Apache-2.0

import Command
import Format
import Glibc
import JSON

enum VersionVerb: Verb {
    static let declaration = VerbDeclaration(
        "Show the version of strata and of what it runs on",
        flags: [SharedFlags.format],
        examples: [.init("strata version --format '{{.Version}}'", "Show the bare version")],
        section: .common
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        var names = utsname()
        guard uname(&names) == 0 else { return 1 }
        let facts: JSONObject = [
            "Version": .string(Strata.version), "Os": "linux",
            "Arch": .string(architecture(text(names.machine))),
            "KernelVersion": .string(text(names.release)),
        ]
        // One program is both, for templates that ask Docker's client or server.
        var all = facts
        for part in ["Client", "Server"] { all[part] = .object(facts) }
        let value = JSON.object(all)
        Console.output.write(try text(of: value, format: parsed.string("format")))
        return 0
    }

    private static func text(of value: JSON, format: String?) throws -> String {
        let plain = """
            Version:  {{.Version}}
            OS/Arch:  {{.Os}}/{{.Arch}}
            Kernel:   {{.KernelVersion}}
            """
        if format == "json" { return value.text + "\n" }
        return try Template(format ?? plain).render(value) + "\n"
    }

    /// A machine's name as images use it.
    private static func architecture(_ machine: String) -> String {
        switch machine {
        case "x86_64": "amd64"
        case "aarch64": "arm64"
        default: machine
        }
    }

    /// The text in one of the fixed arrays that `uname` fills.
    private static func text<Tuple>(_ field: Tuple) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
