// SPDX-License-Identifier: Apache-2.0

import JSON
import LinuxSys
import Runtime
import SystemPackage

/// A prepared launch as a supervisor's job carries it; descriptors are inherited under their numbers.
struct SupervisedLaunch {
    private let launch: PreparedLaunch

    init(_ launch: PreparedLaunch) { self.launch = launch }

    var json: JSON {
        var object: JSONObject = ["spec": launch.spec.json, "init": .bool(launch.options.initProcess)]
        object["cgroup"] = launch.options.cgroup.map(JSON.string)
        object["cache"] = launch.options.cache.map { .string($0.string) }
        switch launch.source {
        case .mount(let mount): object["mount"] = .integer(mount.raw)
        case .fileSystem(let home, let type, let directory, let data):
            object["home"] = .integer(home.raw)
            object["fileSystem"] = [
                "type": .string(type), "directory": .string(directory), "data": .string(data),
            ]
        case .directory(let home, let directory):
            object["home"] = .integer(home.raw)
            object["directory"] = .string(directory)
        }
        return .object(object)
    }
}
