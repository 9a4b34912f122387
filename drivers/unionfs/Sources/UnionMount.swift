// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import Synchronization
import SystemPackage

/// A union of layers, mounted detached and served by a process of its own, which ends with the mount.
struct UnionMount {
    /// The directory in which the layers lie.
    let directory: FilePath
    /// Names of the layers below, the topmost first.
    let lowers: [String]
    /// Where changes go, and the directory of the server beside it.
    var upper: (name: String, work: String)?
    /// Where `LinkNames` are.
    var links: String?
    var passesThrough = true
    /// Nothing that is written needs to reach the disk.
    var isVolatile = false

    /// The mount's root, and the server.
    func make() throws -> MountedLayer {
        let device = try Files.open("/dev/fuse", O_RDWR)
        let mount = try DetachedMount.make(
            "fuse",
            [
                .string("source", "strata-unionfs"), .string("fd", "\(device.raw)"),
                .string("rootmode", "40000"),
                .string("user_id", "\(getuid())"), .string("group_id", "\(getgid())"), .flag("allow_other"),
                .flag("default_permissions"),
            ],
            attributes: upper == nil ? [.readOnly] : []
        )
        let server = try start(device)
        return MountedLayer(root: mount, isMount: true, companion: server)
    }

    private func start(_ device: borrowing OwnedFD) throws -> SharedFD {
        var pair: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&pair) }
        let answers = OwnedFD(adopting: pair[0])
        let report = OwnedFD(adopting: pair[1])
        let program = try InstalledProgram.find("strata-unionfs")
        let child = ChildProgram(
            [program.string, "-o", options(device: device.raw, report: report.raw)],
            descriptors: [device.raw, report.raw]
        )
        let pid = try child.spawn()
        let server = SharedFD(OwnedFD(adopting: try system("pidfd_open") { clinux_pidfd_open(pid) }))
        try report.close()
        let line = try Files.contents(of: answers.raw, limit: 4096)
        if line == [0] {
            StartedServers.add(server)
            return server
        }
        var status: CInt = 0
        _ = try? system("waitid") { clinux_pidfd_wait(server.raw, 0, &status) }
        let text = String(decoding: line, as: UTF8.self).split(separator: "\n").first.map(String.init)
        throw StorageError(.system, text ?? "\(program) ended before it served")
    }

    private func options(device: CInt, report: CInt) -> String {
        var words: [String] = []
        if !lowers.isEmpty { words.append("lowerdir=" + lowers.map(path).joined(separator: ":")) }
        if let upper { words += ["upperdir=" + path(upper.name), "workdir=" + path(upper.work)] }
        words += ["layerform=aufs", "allow_other", "device=\(device)", "report=\(report)"]
        if let links { words.append("links=" + path(links)) }
        if isVolatile { words.append("volatile") }
        if !passesThrough { words.append("nopassthrough") }
        return words.joined(separator: ",")
    }

    /// The path of a name in `directory`, as the server's options take it.
    private func path(_ name: String) -> String {
        var text = ""
        for character in directory.appending(name).string {
            if character == ":" || character == "," || character == "\\" { text.append("\\") }
            text.append(character)
        }
        return text
    }
}

/// The servers that this process started, so that those that ended leave the process table.
private enum StartedServers {
    private static let servers = Mutex<[SharedFD]>([])

    /// Takes one more, and lets go of those that have ended.
    static func add(_ server: SharedFD) {
        servers.withLock { servers in
            servers.removeAll { old in
                var status: CInt = 0
                return clinux_pidfd_wait(old.raw, 1, &status) != 1
            }
            servers.append(server)
        }
    }
}
