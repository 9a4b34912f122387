// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerStore
import LinuxSys
import Storage
import SystemPackage

/// A container's files as another process may work on them.
struct ContainerTree {
    /// What is `/` in it.
    let root: CInt
    let ids: ContainerIDs
}

/// What is wanted of a container's files, which decides what a running container's mounts count for.
enum ContainerTreeUse {
    /// Its own files alone.
    case export
    /// Its files and volumes: not what the kernel makes up below `/proc` and its like.
    case reading
    /// Whatever it sees.
    case writing

    fileprivate var hiddenMounts: [String]? { self == .reading ? ["/proc", "/sys", "/dev"] : nil }
}

extension Engine {
    /// Runs `body` on a container's tree: of the running container through its mounts, else of its layer.
    func withTree(
        of name: String,
        for use: ContainerTreeUse,
        _ body: (ContainerTree) throws -> Void
    ) throws {
        let record = try containers.find(name)
        guard let process = try process(of: record), let holder = try holder(of: record.id) else {
            let container = try hold(record.id, to: "copy files of", for: use == .writing ? .change : .look)
            let mounted = try layers.mount(container.layer, use == .writing ? .readWrite : .readOnly)
            return try body(ContainerTree(root: mounted.root.raw, ids: ContainerIDs()))
        }
        // Whose number it is stays certain as long as the process is held.
        defer { withExtendedLifetime(process) {} }
        let (root, ids) = try doing("look into container \(record.shortID)") {
            (try Self.root(of: holder.pid, for: use), try ContainerIDs(of: holder.pid))
        }
        let tree = ContainerTree(root: root.raw, ids: ids)
        guard use == .writing, let user = ids.outside(0, 0), user != (geteuid(), getegid()) else {
            return try body(tree)
        }
        try doing("act as root of container \(record.shortID)") {
            _ = try system("setfsuid") { clinux_act_as(user.uid, user.gid) }
        }
        defer { _ = clinux_act_as(geteuid(), getegid()) }
        try body(tree)
    }

    private static func root(of pid: CInt, for use: ContainerTreeUse) throws(SystemError) -> SharedFD {
        if use == .writing { return SharedFD(try Files.open("/proc/\(pid)/root", O_RDONLY | O_DIRECTORY)) }
        let mounts = try Files.open("/proc/\(pid)/ns/mnt", O_RDONLY)
        let users = try Files.open("/proc/\(pid)/ns/user", O_RDONLY)
        let own = try Files.open("/proc/self/ns/user", O_RDONLY)
        let isOwn = try Files.status(of: users.raw).inode == Files.status(of: own.raw).inode
        var hidden: [UnsafePointer<CChar>?]? = use.hiddenMounts?.map { UnsafePointer(strdup($0)) }
        defer { for path in hidden ?? [] { free(UnsafeMutablePointer(mutating: path)) } }
        hidden?.append(nil)
        let tree = try system("open_tree", "/") {
            clinux_clone_namespace_root(mounts.raw, isOwn ? -1 : users.raw, hidden)
        }
        return SharedFD(OwnedFD(adopting: tree))
    }
}

/// What the ids of a container's user namespace are called outside.
struct ContainerIDs: Sendable {
    private struct Range: Sendable {
        var inside: UInt32
        var outside: UInt32
        var count: UInt32
    }

    private var users: [Range] = []
    private var groups: [Range] = []

    /// What the kernel shows for an id that has no name in a namespace.
    private static let nobody: UInt32 = 65_534

    /// The same ids on both sides.
    init() {
        users = [Range(inside: 0, outside: 0, count: .max)]
        groups = users
    }

    init(of pid: CInt) throws(SystemError) {
        users = try Self.ranges(FilePath("/proc/\(pid)/uid_map"))
        groups = try Self.ranges(FilePath("/proc/\(pid)/gid_map"))
    }

    private static func ranges(_ path: FilePath) throws(SystemError) -> [Range] {
        let text = String(decoding: try Files.contents(path, limit: 64 << 10), as: UTF8.self)
        return text.split(separator: "\n").compactMap { line in
            let numbers = line.split(separator: " ").compactMap { UInt32($0) }
            return numbers.count == 3
                ? Range(inside: numbers[0], outside: numbers[1], count: numbers[2]) : nil
        }
    }

    /// The owner of a file as the container sees it.
    func inside(_ uid: UInt32, _ gid: UInt32) -> (uid: UInt32, gid: UInt32) {
        (
            Self.translate(uid, users, from: \.outside, to: \.inside) ?? Self.nobody,
            Self.translate(gid, groups, from: \.outside, to: \.inside) ?? Self.nobody
        )
    }

    /// The owner of a file as it is outside; `nil` if there is no such owner in the container.
    func outside(_ uid: UInt32, _ gid: UInt32) -> (uid: UInt32, gid: UInt32)? {
        guard let user = Self.translate(uid, users, from: \.inside, to: \.outside),
            let group = Self.translate(gid, groups, from: \.inside, to: \.outside)
        else { return nil }
        return (user, group)
    }

    private static func translate(
        _ id: UInt32,
        _ ranges: [Range],
        from: KeyPath<Range, UInt32>,
        to: KeyPath<Range, UInt32>
    ) -> UInt32? {
        for range in ranges {
            let start = range[keyPath: from]
            if id >= start, id - start < range.count { return range[keyPath: to] &+ (id - start) }
        }
        return nil
    }
}
