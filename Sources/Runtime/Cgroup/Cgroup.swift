// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import SystemPackage

/// Where this machine's cgroups are: one unified hierarchy (v2), or one directory a controller (v1; beside it there
/// may be a v2 mount without controllers, which is not used).
package struct CgroupHierarchies: Sendable, Equatable {
    package enum Version: Sendable {
        case v1
        case v2
    }

    package let root: FilePath
    package let version: Version

    package init(root: FilePath, version: Version) {
        self.root = root
        self.version = version
    }

    /// Those mounted at `/sys/fs/cgroup`; `nil` if there are none.
    package static func detect(root: FilePath = "/sys/fs/cgroup") -> CgroupHierarchies? {
        guard let directory = try? Files.openDirectory(root) else { return nil }
        var magic: UInt32 = 0
        guard clinux_fstatfs_type(directory.raw, &magic, nil) == 0 else { return nil }
        // CGROUP2_SUPER_MAGIC; a directory of v1 hierarchies is a tmpfs.
        if magic == 0x6367_7270 { return CgroupHierarchies(root: root, version: .v2) }
        guard (try? Files.status(root.appending("freezer"))) != nil else { return nil }
        return CgroupHierarchies(root: root, version: .v1)
    }
}

/// A container's cgroup: on v1 a directory of the same path in every hierarchy that the container needs, on v2 one.
///
/// A value only names it; it exists from `create` until `remove`.
package struct Cgroup: Sendable, Equatable {
    package let hierarchies: CgroupHierarchies
    /// Below the mount of the hierarchy: `/strata/<id>`.
    package let path: String

    package init(_ path: String, in hierarchies: CgroupHierarchies) {
        self.path = path.hasPrefix("/") ? path : "/" + path
        self.hierarchies = hierarchies
    }

    /// The v1 controllers that serve `resources`; each costs a directory and a write at every start, so no others.
    ///
    /// The freezer is always there: it pauses, and it is how what escaped is found.
    static func controllers(for resources: Spec.Resources) -> [String] {
        var names = ["freezer"]
        if !resources.devices.isEmpty { names.append("devices") }
        if resources.memory != nil || resources.memorySwap != nil || resources.memoryReservation != nil {
            names.append("memory")
        }
        if resources.cpuQuota != nil || resources.cpuShares != nil || resources.cpuPeriod != nil {
            names.append("cpu")
        }
        if resources.cpusetCPUs != nil || resources.cpusetMemoryNodes != nil { names.append("cpuset") }
        if resources.pids != nil { names.append("pids") }
        return names
    }

    /// Its directory of `controller` (the same for all on v2).
    package func directory(_ controller: String) -> FilePath {
        let base = hierarchies.version == .v1 ? hierarchies.root.appending(controller) : hierarchies.root
        return FilePath(base.string + path)
    }

    /// The directories that exist.
    package func directories() -> [FilePath] {
        possibleDirectories.filter { (try? Files.status($0)?.kind) == .directory }
    }

    /// The freezer's first.
    var possibleDirectories: [FilePath] {
        if hierarchies.version == .v2 { return [directory("")] }
        let controllers = [
            "freezer", "devices", "memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "hugetlb",
        ]
        return controllers.map(directory)
    }

    /// Makes it, with limits set.
    ///
    /// Undoes everything on failure.
    package func create(_ resources: Spec.Resources) throws(RuntimeError) {
        do throws(RuntimeError) {
            switch hierarchies.version {
            case .v1:
                for controller in Self.controllers(for: resources) { try makeV1(controller) }
                try setV1(resources)
            case .v2:
                try makeV2()
                try setV2(resources)
            }
        } catch {
            try? remove(attempts: 1)
            throw error
        }
    }

    /// Changes the limits of one that exists.
    package func update(_ resources: Spec.Resources) throws(RuntimeError) {
        switch hierarchies.version {
        case .v1: try setV1(resources)
        case .v2: try setV2(resources)
        }
    }

    func write(_ value: String, to file: FilePath) throws(RuntimeError) {
        try attempt("set \(file) to \(value)") { () throws(SystemError) in
            let descriptor = try Files.open(file, O_WRONLY)
            try Files.writeAll(Array(value.utf8), to: descriptor.raw)
        }
    }

    func read(_ file: FilePath) -> String? {
        guard let bytes = try? Files.contents(file, limit: 1 << 20) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    func makeDirectories(_ directory: FilePath, above: FilePath) throws(RuntimeError) {
        try attempt("make cgroup \(path)") { () throws(SystemError) in
            // The leaf alone is missing nearly always.
            let made = try? Files.ensureDirectory(directory, mode: 0o755)
            if made == nil { try Files.makeDirectories(directory, mode: 0o755) }
        }
    }
}
