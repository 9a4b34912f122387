// SPDX-License-Identifier: Apache-2.0

import JSON
import Launch

extension Spec.Namespace {
    /// Names of the specification, which differ from those in `/proc/<pid>/ns`.
    static let kinds: [(name: String, kind: Namespaces)] = [
        ("pid", .pid), ("network", .network), ("mount", .mount), ("ipc", .ipc), ("uts", .uts),
        ("user", .user),
        ("cgroup", .cgroup),
    ]
}

extension Spec.Linux {
    init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "linux")
        self.init()
        rest = fields.object
        for value in try fields.array("namespaces") {
            let namespace = try SpecFields(value, "linux.namespaces")
            let type = try namespace.string("type")
            guard let kind = Spec.Namespace.kinds.first(where: { $0.name == type })?.kind else {
                throw RuntimeError(.unsupported, "namespace type \(type ?? "(none)") is not known")
            }
            namespaces.append(Spec.Namespace(kind, path: try namespace.string("path")))
        }
        uidMappings = try Self.mappings(fields, "uidMappings")
        gidMappings = try Self.mappings(fields, "gidMappings")
        for value in try fields.array("devices") { devices.append(try Spec.Device(value)) }
        cgroupsPath = try fields.string("cgroupsPath")
        if let value = fields["resources"] { resources = try Spec.Resources(value) }
        rootfsPropagation = try fields.string("rootfsPropagation")
        if let value = fields["seccomp"] { seccomp = try SeccompProfile(value) }
        sysctl = try fields.texts("sysctl")
        maskedPaths = try fields.strings("maskedPaths")
        readonlyPaths = try fields.strings("readonlyPaths")
    }

    private static func mappings(_ fields: SpecFields, _ key: String) throws(RuntimeError) -> [Spec.IDMapping]
    {
        var result: [Spec.IDMapping] = []
        for value in try fields.array(key) {
            let mapping = try SpecFields(value, "linux.\(key)")
            guard let inside = try mapping.id("containerID"), let host = try mapping.id("hostID"),
                let size = try mapping.id("size")
            else { throw mapping.missing("containerID, hostID or size") }
            result.append(Spec.IDMapping(containerID: inside, hostID: host, size: size))
        }
        return result
    }
}

extension Spec.Device {
    init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "linux.devices")
        guard let path = try fields.string("path"), let type = try fields.string("type") else {
            throw fields.missing("path or type")
        }
        guard ["c", "b", "u", "p"].contains(type) else { throw fields.wrong("type", "one of c, b, u, p") }
        self.init(
            path: path,
            type: type,
            major: try fields.id("major") ?? 0,
            minor: try fields.id("minor") ?? 0,
            fileMode: try fields.id("fileMode") ?? 0o666,
            uid: try fields.id("uid") ?? 0,
            gid: try fields.id("gid") ?? 0
        )
    }
}

extension Spec.Resources {
    init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "linux.resources")
        self.init()
        rest = fields.object
        for value in try fields.array("devices") {
            let rule = try SpecFields(value, "linux.resources.devices")
            devices.append(
                Spec.DeviceRule(
                    allow: try rule.bool("allow") ?? false,
                    type: try rule.string("type") ?? "a",
                    major: try rule.integer("major").flatMap { $0 < 0 ? nil : $0 },
                    minor: try rule.integer("minor").flatMap { $0 < 0 ? nil : $0 },
                    access: try rule.string("access") ?? "rwm"
                )
            )
        }
        if let value = try fields.fields("memory") {
            memory = try value.integer("limit")
            memorySwap = try value.integer("swap")
            memoryReservation = try value.integer("reservation")
        }
        if let value = try fields.fields("cpu") {
            cpuShares = try value.natural("shares")
            cpuQuota = try value.integer("quota")
            cpuPeriod = try value.natural("period")
            cpusetCPUs = try value.string("cpus")
            cpusetMemoryNodes = try value.string("mems")
        }
        pids = try fields.fields("pids")?.integer("limit")
    }
}
