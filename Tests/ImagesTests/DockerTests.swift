// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

/// A Docker daemon of its own: no bridge, no firewall rules, everything in one directory.
private final class Daemon {
    private let pid: pid_t
    private let directory: FilePath
    /// Below 108 bytes, as a socket's address must be.
    private let runDirectory: FilePath

    var host: String { "unix://\(runDirectory)/s" }

    init(in directory: FilePath) throws {
        self.directory = directory
        runDirectory = FilePath("/tmp/d.\(UInt32.random(in: 0 ... .max))")
        try Files.makeDirectory(runDirectory)
        let log = try Files.open(directory.appending("dockerd.log"), O_WRONLY | O_CREAT, mode: 0o600)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, log.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, log.raw, 2)
        let arguments = [
            "dockerd", "--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none",
            "--data-root", "\(directory)/docker", "--exec-root", "\(runDirectory)/x", "-p",
            "\(runDirectory)/pid", "-H",
            "unix://\(runDirectory)/s",
        ]
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, "dockerd", &actions, nil, &pointers, environ)
        try #require(failure == 0, "dockerd: errno \(failure)")
        self.pid = pid
    }

    /// Waits up to five minutes for its socket, on which it answers once it is ready; why there is none, if
    /// so.
    func problem() -> String? {
        for _ in 0..<1200 {
            if access("\(runDirectory)/s", F_OK) == 0 { return nil }
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) == pid { break }
            usleep(250_000)
        }
        let log = (try? Files.contents(directory.appending("dockerd.log"))) ?? []
        return String(decoding: log.suffix(400), as: UTF8.self)
    }

    @discardableResult
    func docker(_ arguments: String...) throws -> String {
        try run(["env", "DOCKER_BUILDKIT=0", "docker", "-H", host] + arguments, in: directory)
    }

    deinit {
        kill(pid, SIGTERM)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
        _ = try? Files.removeTree(runDirectory)
    }
}

@Suite(.requires(.root, .program("dockerd"), .program("docker"))) struct DockerTests {
    @Test func loadsWhatDockerWroteAndBack() throws {
        let box = try ToolBox()
        let daemon = try Daemon(in: box.path)
        let problem = daemon.problem()
        try #require(problem == nil, "dockerd does not start here: \(problem ?? "")")

        _ = try box.load("layout")
        try box.fixture.store.tag("base", as: "saved:1")
        try box.save("saved:1", as: .dockerArchive, to: "saved.tar")
        #expect(try daemon.docker("load", "-i", box.file("saved.tar")).contains("Loaded image: saved:1"))
        let id = try box.fixture.store.resolve("saved:1").id
        #expect(try daemon.docker("image", "inspect", "-f", "{{.Id}}", "saved:1").contains("\(id)"))

        // An image on another, as the builder makes it: its archive has layers twice.
        let script = Array("FROM saved:1\nENV A=b\nCMD [\"x\"]\n".utf8)
        try Files.makeDirectories(box.path.appending("context"))
        try Files.replace(box.path.appending("context/Dockerfile"), with: script, durable: false)
        try daemon.docker("build", "-t", "built:1", box.file("context"))
        try daemon.docker("save", "-o", box.file("docker.tar"), "saved:1", "built:1")
        let other = try Fixture()
        let archive = try ImageArchive.open(FilePath(box.file("docker.tar")), for: other.store)
        #expect(
            try other.load(archive).flatMap(\.messages).sorted() == [
                "Loaded image: built:1", "Loaded image: saved:1",
            ]
        )
        #expect(try other.store.resolve("saved:1").id == id)
        let built = try other.store.resolve("built:1")
        #expect(try built.config().environment.contains("A=b"))
        #expect(try daemon.docker("image", "inspect", "-f", "{{.Id}}", "built:1").contains("\(built.id)"))
    }
}
