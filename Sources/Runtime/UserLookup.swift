// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// A user as a container's own files have it.
package struct ResolvedUser: Sendable, Equatable {
    package var uid: UInt32
    package var gid: UInt32
    package var additionalGids: [UInt32]
    package var home: String

    package init(uid: UInt32, gid: UInt32, additionalGids: [UInt32] = [], home: String = "/") {
        self.uid = uid
        self.gid = gid
        self.additionalGids = additionalGids
        self.home = home
    }

    /// With the user's own group among the others, so that a program which sets another group keeps no right that a
    /// file refuses to that group (CVE-2022-36109).
    package var specUser: Spec.User {
        Spec.User(uid: uid, gid: gid, additionalGids: [gid] + additionalGids.filter { $0 != gid })
    }
}

/// Looks users up in a container's `/etc/passwd` and `/etc/group`, which are hostile: opened inside the root, only if
/// they are regular files, and read up to a limit.
package enum UserLookup {
    /// Larger files are refused.
    private static let sizeLimit = 4 << 20
    /// The kernel takes no more (NGROUPS_MAX).
    private static let groupLimit = 65_536

    /// Resolves `text`: empty for root, or `user`, `user:group`, by name or number.
    ///
    /// A number need not be in the files. Without a group, the user's own is taken and those that list the user are
    /// added. `additional` are groups from `--group-add`.
    ///
    /// - Parameter root: the container's root: a mount or directory.
    package static func resolve(
        _ text: String,
        additional: [String] = [],
        root: CInt
    ) throws(RuntimeError) -> ResolvedUser {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init
        )
        let name = parts.first.flatMap { $0.isEmpty ? nil : $0 } ?? "0"
        let group = parts.count > 1 && !parts[1].isEmpty ? parts[1] : nil
        let users = try entries("etc/passwd", root: root, fields: 6)
        let entry =
            users.first { $0[0] == name }
            ?? number(name).flatMap { wanted in users.first { number($0[2]) == wanted } }
        var user = ResolvedUser(uid: 0, gid: 0, additionalGids: [], home: "/")
        if let entry, let uid = number(entry[2]), let gid = number(entry[3]) {
            user.uid = uid
            user.gid = gid
            if entry[5].hasPrefix("/") { user.home = entry[5] }
        } else if let uid = number(name) {
            user.uid = uid
        } else {
            throw RuntimeError(
                .notFound,
                "user \(name) is not in the container's /etc/passwd",
                remedy: "use one that is, or a number"
            )
        }
        if group == nil && entry == nil && additional.isEmpty { return user }
        let groups = try entries("etc/group", root: root, fields: 3)
        if let group {
            user.gid = try gid(group, groups)
        } else if let entry {
            for line in groups
            where line.count > 3 && line[3].split(separator: ",").contains(Substring(entry[0])) {
                if let gid = number(line[2]) { add(gid, to: &user) }
            }
        }
        for name in additional { add(try gid(name, groups), to: &user) }
        return user
    }

    private static func add(_ gid: UInt32, to user: inout ResolvedUser) {
        if user.additionalGids.count < groupLimit, !user.additionalGids.contains(gid) {
            user.additionalGids.append(gid)
        }
    }

    private static func gid(_ name: String, _ groups: [[String]]) throws(RuntimeError) -> UInt32 {
        if let line = groups.first(where: { $0[0] == name }), let gid = number(line[2]) { return gid }
        if let gid = number(name) { return gid }
        throw RuntimeError(
            .notFound,
            "group \(name) is not in the container's /etc/group",
            remedy: "use one that is, or a number"
        )
    }

    /// 0 to 2^31-1: larger ones have been taken for negative or for 0 elsewhere (CVE-2024-40635).
    private static func number(_ text: String) -> UInt32? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        guard let value = UInt32(text), value <= 0x7FFF_FFFF else { return nil }
        return value
    }

    /// The lines of a colon-separated file with at least `fields` fields; none if there is no such file.
    private static func entries(_ path: String, root: CInt, fields: Int) throws(RuntimeError) -> [[String]] {
        let bytes: [UInt8]
        do throws(SystemError) {
            let file = try RootedResolver.open(path, in: root, O_RDONLY | O_NONBLOCK | O_NOCTTY)
            guard try Files.status(of: file.raw).kind == .regular else {
                throw SystemError("read", path, .invalidArgument)
            }
            bytes = try Files.contents(of: file.raw, limit: sizeLimit, name: path)
        } catch {
            if error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory { return [] }
            throw RuntimeError(error, doing: "look a user up in the container's /\(path)")
        }
        var result: [[String]] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            if line.first == UInt8(ascii: "#") { continue }
            let parts = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            if parts.count >= fields { result.append(parts.map { String(decoding: $0, as: UTF8.self) }) }
        }
        return result
    }
}
