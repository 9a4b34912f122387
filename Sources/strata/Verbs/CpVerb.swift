// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Glibc
import LinuxSys
import SystemPackage

enum CpVerb: Verb {
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

    static func run(_ parsed: Parsed) throws -> Int32 {
        Interruption.listen()
        let engine = try parsed.engine(.write)
        let source = try place(parsed.words[0], standard: STDIN_FILENO)
        let target = try place(asDirectory(parsed.words[1]), standard: STDOUT_FILENO)
        var options = Engine.CopyOptions()
        options.keepsOwners = parsed.flag("archive")
        options.followsLink = parsed.flag("follow-link")
        options.wantsDirectory = parsed.words[0].bytes.last == UInt8(ascii: "/")
        try engine.copy(from: source, to: target, options)
        return 0
    }

    /// A slash at the end says that the target is a directory, which a path does not keep.
    private static func asDirectory(_ word: Word) -> Word {
        word.bytes.last == UInt8(ascii: "/") ? Word(word.bytes + [UInt8(ascii: ".")]) : word
    }

    /// `-`, `CONTAINER:PATH`, or a path; one that has a colon is told by a slash or dot before it, as Docker does.
    private static func place(_ word: Word, standard: CInt) throws -> CopyPlace {
        if word.text == "-" { return .tar(SharedFD(try .duplicating(standard))) }
        let bytes = word.bytes
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0, bytes[0] != UInt8(ascii: "/"),
            bytes[0] != UInt8(ascii: ".")
        else { return .host(FilePath(bytes)) }
        let path = Array(bytes[(colon + 1)...])
        let absolute = path.first == UInt8(ascii: "/") ? path : [UInt8(ascii: "/")] + path
        return .container(String(decoding: bytes[..<colon], as: UTF8.self), path: FilePath(absolute))
    }
}
