// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates

/// The built `strata` with a store of its own, which goes with this object.
final class Strata {
    let directory: TemporaryDirectory
    var root: FilePath { directory.appending("store") }
    var runRoot: FilePath { directory.appending("run") }
    /// Flags before the verb.
    let flags: [String]

    /// Beside the test bundle, where SwiftPM builds it; STRATA names another.
    static let program: String = {
        if let path = getenv("STRATA") { return String(cString: path) }
        let bundle = (try? Files.readLink("/proc/self/exe")).map {
            FilePath(String(decoding: $0, as: UTF8.self))
        }
        for argument in CommandLine.arguments where argument.contains(".build") {
            let folder = FilePath(argument).removingLastComponent().appending("strata")
            if (try? Files.status(folder)) != nil { return folder.string }
        }
        return bundle?.removingLastComponent().appending("strata").string ?? "strata"
    }()

    /// - Parameter place: where its store lies; `nil`: where all temporary directories are.
    init(driver: String? = nil, below place: FilePath? = nil) throws {
        directory = try TemporaryDirectory(below: place ?? TemporaryDirectory.base)
        var flags = [
            "--root", directory.appending("store").string, "--run-root", directory.appending("run").string,
        ]
        if let driver { flags += ["--storage-driver", driver] }
        self.flags = flags
    }

    deinit {
        let ids = (try? self("ps", "-aq").lines) ?? []
        if !ids.isEmpty { _ = try? Program.run([Self.program] + flags + ["rm", "-f"] + ids) }
    }

    /// Runs a verb, whatever comes of it.
    func callAsFunction(_ arguments: String..., input: [UInt8] = []) throws -> Outcome {
        try Program.run([Self.program] + flags + arguments, input: input)
    }

    /// Runs a verb that must succeed; its output.
    @discardableResult
    func ok(_ arguments: String..., input: [UInt8] = []) throws -> Outcome {
        let outcome = try Program.run([Self.program] + flags + arguments, input: input)
        guard outcome.code == 0 else { throw UnexpectedOutcome(description: "\(outcome)") }
        return outcome
    }

    func start(_ arguments: String...) throws -> RunningProgram {
        try Program.start([Self.program] + flags + arguments)
    }

    /// Imports an image of busybox-static as `busybox`.
    func importBusybox() throws {
        let rootfs = directory.appending("rootfs").string
        try Program.shell(
            """
            mkdir -p \(rootfs)/{bin,etc,root,tmp,home}; chmod 1777 \(rootfs)/tmp
            cp /bin/busybox \(rootfs)/bin/
            for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -s busybox \(rootfs)/bin/$a; done
            printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000:user:/home:/bin/sh\\n' > \(rootfs)/etc/passwd
            printf 'root:x:0:\\nuser:x:1000:\\nextra:x:2000:user\\n' > \(rootfs)/etc/group
            tar -C \(rootfs) --numeric-owner -cf \(rootfs).tar .
            """
        )
        try ok("import", "--change", "CMD [\"/bin/sh\"]", "\(rootfs).tar", "busybox")
    }
}
