// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Launch
import LinuxSys
import Runtime
import SystemPackage
import TestGates

/// A directory with Debian's static busybox, from which containers are started.
final class BusyboxRoot {
    let temporary: TemporaryDirectory
    let path: FilePath

    init() throws {
        temporary = try TemporaryDirectory()
        path = temporary.path.appending("rootfs")
        for name in ["", "bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            try Files.makeDirectory(path.appending(name), mode: 0o755)
        }
        try Files.replace(
            path.appending("bin/busybox"),
            with: Files.contents("/usr/bin/busybox"),
            mode: 0o755
        )
        for name in [
            "sh", "true", "cat", "id", "ls", "mount", "sleep", "hostname", "ps", "tty", "stty", "env",
            "mknod",
        ] {
            try system("symlink") { symlink("busybox", path.appending("bin/\(name)").string) }
        }
    }

    func mount() throws -> OwnedFD { try DetachedMount.clone(path, below: AT_FDCWD) }

    func write(_ text: String, to name: String) throws {
        try Files.replace(path.appending(name), with: Array(text.utf8), mode: 0o644)
    }

    /// The default container running a shell script.
    static func spec(_ script: String) -> Spec {
        var spec = SpecDefaults.container()
        spec.process.args = ["/bin/sh", "-c", script]
        spec.hostname = "box"
        return spec
    }

    struct Outcome: Equatable {
        var code: CInt
        var output: String
    }

    /// Runs it to its end; what it wrote to its output and error.
    ///
    /// - Parameter begun: its process, if that began before.
    func run(
        _ spec: Spec,
        options: StartOptions = StartOptions(),
        begun: consuming BegunContainer? = nil
    ) throws -> Outcome {
        var ends: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&ends) }
        let reader = OwnedFD(adopting: ends[0])
        var writer: OwnedFD? = OwnedFD(adopting: ends[1])
        let null = try Files.open("/dev/null", O_RDONLY)
        var options = options
        options.io = .descriptors(input: null.raw, output: ends[1], error: ends[1])
        let container = try Container.start(spec, root: .mount(mount()), options: options, begun: begun)
            .finish()
        writer = nil
        _ = writer == nil
        let output = try Files.contents(of: reader.raw, limit: 1 << 20)
        let status = try container.wait()
        try container.cgroup?.remove()
        return Outcome(code: status.code, output: String(decoding: output, as: UTF8.self))
    }

    func run(_ script: String) throws -> Outcome { try run(Self.spec(script)) }
}
