// SPDX-License-Identifier: Apache-2.0

package import JSON
import Launch

extension Spec {
    /// config.json, with what was read and is not known here in its place.
    package var json: JSON {
        var object = rest
        object["ociVersion"] = .string(ociVersion)
        object["process"] = process.json
        var rootObject = root.rest
        rootObject["path"] = .string(root.path)
        rootObject["readonly"] = root.readonly ? true : nil
        object["root"] = .object(rootObject)
        object["hostname"] = hostname.map { .string($0) }
        object["domainname"] = domainname.map { .string($0) }
        object["mounts"] = list(mounts.map(\.json))
        object["annotations"] = texts(annotations)
        object["linux"] = linux.json
        return .object(object)
    }
}

/// An array, or nothing where it would be empty.
private func list(_ elements: [JSON]) -> JSON? { elements.isEmpty ? nil : .array(elements) }

private func texts(_ values: [String: String]) -> JSON? {
    if values.isEmpty { return nil }
    var object = JSONObject()
    for (key, value) in values.sorted(by: { $0.key < $1.key }) { object[key] = .string(value) }
    return .object(object)
}

extension Spec.Mount {
    var json: JSON {
        var object = rest
        object["destination"] = .string(destination)
        object["type"] = type.map { .string($0) }
        object["source"] = source.map { .string($0) }
        object["options"] = options.isEmpty ? nil : .strings(options)
        return .object(object)
    }
}

extension Spec.Process {
    package var json: JSON {
        var object = rest
        object["terminal"] = terminal ? true : nil
        object["consoleSize"] = consoleSize.map {
            ["height": .integer($0.rows), "width": .integer($0.columns)]
        }
        var userObject = user.rest
        userObject["uid"] = .integer(user.uid)
        userObject["gid"] = .integer(user.gid)
        userObject["additionalGids"] = list(user.additionalGids.map { .integer($0) })
        userObject["umask"] = user.umask.map { .integer($0) }
        object["user"] = .object(userObject)
        object["args"] = .strings(args)
        object["env"] = env.isEmpty ? nil : .strings(env)
        object["cwd"] = .string(cwd)
        object["capabilities"] = capabilities.map { sets in
            [
                "bounding": .strings(sets.bounding.names), "effective": .strings(sets.effective.names),
                "permitted": .strings(sets.permitted.names), "inheritable": .strings(sets.inheritable.names),
                "ambient": .strings(sets.ambient.names),
            ]
        }
        object["rlimits"] = list(
            rlimits.map { ["type": .string($0.type), "hard": .integer($0.hard), "soft": .integer($0.soft)] }
        )
        object["noNewPrivileges"] = noNewPrivileges ? true : nil
        object["oomScoreAdj"] = oomScoreAdj.map { .integer($0) }
        return .object(object)
    }
}

extension Spec.Linux {
    var json: JSON {
        var object = rest
        object["namespaces"] = list(namespaces.map(\.json))
        object["uidMappings"] = list(uidMappings.map(\.json))
        object["gidMappings"] = list(gidMappings.map(\.json))
        object["devices"] = list(devices.map(\.json))
        object["cgroupsPath"] = cgroupsPath.map { .string($0) }
        object["resources"] = resources.json
        object["rootfsPropagation"] = rootfsPropagation.map { .string($0) }
        object["seccomp"] = seccomp?.json
        object["sysctl"] = texts(sysctl)
        object["maskedPaths"] = maskedPaths.isEmpty ? nil : .strings(maskedPaths)
        object["readonlyPaths"] = readonlyPaths.isEmpty ? nil : .strings(readonlyPaths)
        return .object(object)
    }
}

extension Spec.Namespace {
    fileprivate var json: JSON {
        let name = Self.kinds.first { $0.kind == kind }?.name ?? kind.description
        guard let path else { return ["type": .string(name)] }
        return ["type": .string(name), "path": .string(path)]
    }
}

extension Spec.IDMapping {
    fileprivate var json: JSON {
        ["containerID": .integer(containerID), "hostID": .integer(hostID), "size": .integer(size)]
    }
}

extension Spec.Device {
    fileprivate var json: JSON {
        [
            "path": .string(path), "type": .string(type), "major": .integer(major), "minor": .integer(minor),
            "fileMode": .integer(fileMode), "uid": .integer(uid), "gid": .integer(gid),
        ]
    }
}

extension Spec.Resources {
    fileprivate var json: JSON? {
        var object = rest
        object["devices"] = list(
            devices.map { rule in
                var one: JSONObject = ["allow": .bool(rule.allow), "type": .string(rule.type)]
                one["major"] = rule.major.map { .integer($0) }
                one["minor"] = rule.minor.map { .integer($0) }
                one["access"] = .string(rule.access)
                return .object(one)
            }
        )
        object["memory"] = merged(
            "memory",
            [
                ("limit", memory.map { .integer($0) }), ("swap", memorySwap.map { .integer($0) }),
                ("reservation", memoryReservation.map { .integer($0) }),
            ]
        )
        object["cpu"] = merged(
            "cpu",
            [
                ("shares", cpuShares.map { .integer($0) }), ("quota", cpuQuota.map { .integer($0) }),
                ("period", cpuPeriod.map { .integer($0) }), ("cpus", cpusetCPUs.map { .string($0) }),
                ("mems", cpusetMemoryNodes.map { .string($0) }),
            ]
        )
        object["pids"] = merged("pids", [("limit", pids.map { .integer($0) })])
        return object.isEmpty ? nil : .object(object)
    }

    /// The object `key` as it was read, with `values` in their places.
    private func merged(_ key: String, _ values: [(String, JSON?)]) -> JSON? {
        var object = rest[key]?.object ?? JSONObject()
        for (name, value) in values { object[name] = value }
        return object.isEmpty ? nil : .object(object)
    }
}
