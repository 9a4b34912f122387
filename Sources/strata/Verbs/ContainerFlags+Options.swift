// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Glibc
import LinuxSys
import SystemPackage

extension ContainerOptions {
    /// What the flags of `create` and `run` ask for.
    init(_ parsed: Parsed) throws {
        self.init()
        let words = parsed.arguments
        image = words.first ?? ""
        command = Array(words.dropFirst())
        // Docker shows names with a slash before them, and takes them so.
        name = parsed.string("name").map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 }
        if name?.isEmpty == true { name = nil }
        entrypoint = parsed.isSet("entrypoint") ? parsed.string("entrypoint") ?? "" : nil
        environment =
            try EnvironmentFile.variables(parsed.wordList("env-file")) + EnvironmentFile.given(parsed)
        workingDirectory = parsed.string("workdir")
        user = parsed.string("user")
        hostname = parsed.string("hostname").flatMap { $0.isEmpty ? nil : $0 }
        labels = parsed.list("label")
        terminal = parsed.flag("tty")
        interactive = parsed.flag("interactive")
        removeWhenDone = parsed.flag("rm")
        readOnly = parsed.flag("read-only")
        usesInit = parsed.flag("init")
        userNamespace = parsed.flag("userns")
        network = parsed.string("network") ?? network
        volumes = parsed.list("volume")
        temporaryFileSystems = parsed.list("tmpfs")
        memory = parsed.bytes("memory").flatMap { $0 == 0 ? nil : $0 }
        nanoCPUs = parsed.nanos("cpus").flatMap { $0 == 0 ? nil : $0 }
        cpuset = parsed.string("cpuset-cpus")
        pidsLimit = parsed.int("pids-limit")
        sharedMemorySize = parsed.bytes("shm-size").flatMap { $0 == 0 ? nil : $0 }
        addedCapabilities = parsed.list("cap-add")
        droppedCapabilities = parsed.list("cap-drop")
        securityOptions = parsed.list("security-opt")
        logDriver = parsed.string("log-driver")
        logOptions = parsed.list("log-opt")
        storageOptions = parsed.pairs("storage-opt").map { "\($0.key)=\($0.value)" }
        stopSignal = parsed.string("stop-signal")
        stopTimeout = parsed.int("stop-timeout").map { Int(clamping: $0) }
        for text in labels where text.isEmpty || text.hasPrefix("=") {
            throw EngineError(.usage, "invalid label '\(text)': empty name")
        }
        for word in parsed.wordList("volume") + [parsed.word("workdir")].compactMap(\.self)
        where word.text.utf8.elementsEqual(word.bytes) == false {
            throw EngineError(
                .usage,
                "'\(word.text)' is not UTF-8: paths in a container's configuration must be (OCI)"
            )
        }
    }
}

/// `--env-file`: a variable a line, `#` begins a comment.
enum EnvironmentFile {
    /// What `--env` gives, beside the files.
    static func given(_ parsed: Parsed) throws -> [String] {
        let variables = parsed.list("env")
        for text in variables where text.isEmpty || text.hasPrefix("=") {
            throw EngineError(.usage, "invalid environment variable '\(text)': give NAME or NAME=VALUE")
        }
        return variables
    }

    static func variables(_ files: [Word]) throws -> [String] {
        var variables: [String] = []
        for file in files {
            let path = FilePath(file.bytes)
            let descriptor = try Files.open(path, O_RDONLY)
            let bytes = try Files.contents(of: descriptor.raw, limit: 16 << 20, name: path.string)
            for line in bytes.split(separator: UInt8(ascii: "\n")) {
                var text = String(decoding: line, as: UTF8.self)
                while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
                if text.isEmpty || text.hasPrefix("#") { continue }
                let name = text.prefix { $0 != "=" }
                guard !name.isEmpty, !name.contains(where: { $0 == " " || $0 == "\t" }) else {
                    throw EngineError(
                        .usage,
                        "poorly formatted environment: variable '\(name)' contains whitespaces"
                    )
                }
                variables.append(text)
            }
        }
        return variables
    }
}
