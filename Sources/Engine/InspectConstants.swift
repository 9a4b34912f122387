// SPDX-License-Identifier: Apache-2.0

import JSON
import Runtime

/// What Docker's `inspect` names beside what a container can be given here: templates ask for it, and it holds for
/// every container.
enum InspectConstants {
    static let top: JSONObject = [
        "AppArmorProfile": "", "ExecIDs": .null, "MountLabel": "", "ProcessLabel": "",
    ]

    static let config: JSONObject = ["StdinOnce": false, "Volumes": .null, "OnBuild": .null]

    static let hostConfig: JSONObject = [
        "CgroupnsMode": "private", "IpcMode": "private", "PidMode": "", "UTSMode": "",
        "Privileged": false, "RestartPolicy": ["Name": "no", "MaximumRetryCount": 0],
        "PortBindings": [:], "PublishAllPorts": false, "Links": .null, "VolumesFrom": .null,
        "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": .null, "GroupAdd": .null,
        "Devices": [], "DeviceCgroupRules": .null, "Ulimits": [], "OomScoreAdj": 0, "OomKillDisable": false,
        "CpuShares": 0, "CpuPeriod": 0, "CpuQuota": 0, "CpusetMems": "", "MemoryReservation": 0,
        "MaskedPaths": .strings(SpecDefaults.maskedPaths),
        "ReadonlyPaths": .strings(SpecDefaults.readonlyPaths),
    ]

    /// Of a container without an address of its own, as those of `none` and `host` are.
    static let network: JSONObject = [
        "IPAddress": "", "IPPrefixLen": 0, "Gateway": "", "MacAddress": "", "GlobalIPv6Address": "",
    ]

    /// `json` with those of `constants` that it does not have.
    static func adding(_ constants: JSONObject, to json: JSON) -> JSON {
        guard var object = json.object else { return json }
        for member in constants where object[member.key] == nil { object[member.key] = member.value }
        return .object(object)
    }
}
