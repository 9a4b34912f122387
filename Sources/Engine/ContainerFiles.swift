// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The files of a container that the engine writes and mounts into it: `hosts`, `hostname`, `resolv.conf`.
enum ContainerFiles {
    /// The mount points, in the container; the init layer has them all.
    static let mountPoints: [(file: String, target: String)] = [
        ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts"),
    ]

    /// The specification that the container was started with.
    static let spec = "config.json"

    /// Writes all three into `directory`.
    static func write(into directory: CInt, config: ContainerConfig) throws {
        try write("hostname", "\(config.hostname)\n", into: directory)
        let shared = config.network == "host"
        try write("hosts", shared ? hostFile("/etc/hosts") ?? hosts : hosts, into: directory)
        try write("resolv.conf", hostFile("/etc/resolv.conf") ?? "", into: directory)
    }

    static func write(_ name: String, _ text: String, into directory: CInt) throws {
        try doing("write the container's \(name)") {
            let file = try Files.open(
                name,
                below: directory,
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
                mode: 0o644
            )
            try Files.writeAll(Array(text.utf8), to: file.raw)
        }
    }

    /// Removes a container's directory, which is open as `directory`, with all that is in it.
    static func remove(_ directory: CInt, at path: FilePath) throws {
        for (file, _) in mountPoints { try Files.unlink(file, below: directory) }
        if (try? Files.unlink(path, isDirectory: true)) == nil { try Files.removeTree(path) }
    }

    private static func hostFile(_ path: String) -> String? {
        guard let file = try? Files.open(path, O_RDONLY),
            let bytes = try? Files.contents(of: file.raw, limit: 1 << 20)
        else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Docker's lines for a container without an address of its own.
    private static let hosts = """
        127.0.0.1\tlocalhost
        ::1\tlocalhost ip6-localhost ip6-loopback
        fe00::0\tip6-localnet
        ff00::0\tip6-mcastprefix
        ff02::1\tip6-allnodes
        ff02::2\tip6-allrouters

        """
}

/// The layer of mount points between an image and a container's writable layer.
enum InitLayer {
    /// What the layer over `image` holds; `nil` for an image without any layer.
    static func entries(over image: CInt?) throws -> [LayerEntry] {
        try image.map { try entries(missingFrom: $0) } ?? allEntries
    }

    /// What `image`, the root of the mounted image, lacks of the mount points.
    ///
    /// A name that exists, whatever it is, is left alone: the mount resolves it inside the root.
    private static func entries(missingFrom image: CInt) throws -> [LayerEntry] {
        let time = try Files.status(of: image).mtime
        var entries: [LayerEntry] = []
        func add(_ path: TreePath, _ kind: LayerEntry.Kind, mode: UInt32) throws {
            if try Files.status(path, below: image) == nil {
                entries.append(LayerEntry(path: path, kind: kind, mode: mode, mtime: time))
            }
        }
        try add("dev", .directory, mode: 0o755)
        try add("etc", .directory, mode: 0o755)
        let etc = try Files.status("etc", below: image)
        if etc == nil || etc?.kind == .directory {
            for name: TreePath in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
                try add(name, .regular(size: 0), mode: 0o644)
            }
        }
        try add("proc", .directory, mode: 0o755)
        try add("sys", .directory, mode: 0o755)
        return entries
    }
}

extension InitLayer {
    /// What an image without any layer lacks: everything.
    static var allEntries: [LayerEntry] {
        let time = Timestamp(seconds: 0)
        let directories: [TreePath] = ["dev", "etc", "proc", "sys"]
        let files: [TreePath] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"]
        return
            (directories.map { LayerEntry(path: $0, kind: .directory, mode: 0o755, mtime: time) }
            + files.map { LayerEntry(path: $0, kind: .regular(size: 0), mode: 0o644, mtime: time) })
            .sorted { $0.path < $1.path }
    }
}
