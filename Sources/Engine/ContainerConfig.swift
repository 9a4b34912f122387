// SPDX-License-Identifier: Apache-2.0

import JSON

/// What a container is: the image's configuration and the user's options, merged once at `create` and kept in its row.
///
/// As JSON it has the field names of Docker's `inspect`, whose `Config` and `HostConfig` are printed from it.
struct ContainerConfig: Sendable {
    /// The reference as the user gave it.
    var image = ""
    /// The image's id, `sha256:…`.
    var imageID = ""
    /// Entry point, then command: what is executed is both in order.
    var entrypoint: [String] = []
    var command: [String] = []
    /// `NAME=value`, each name once.
    var environment: [String] = []
    var workingDirectory = "/"
    var user = ""
    var hostname = ""
    var labels: [(name: String, value: String)] = []
    var terminal = false
    var keepsStandardInput = false
    /// A signal by its name, as `SIGTERM`.
    var stopSignal = "SIGTERM"
    /// Seconds.
    var stopTimeout = 10

    var removeWhenDone = false
    var readOnly = false
    var usesInit = false
    var userNamespace = false
    var network = "none"
    var binds: [String] = []
    var temporaryFileSystems: [String] = []
    var memory: Int64 = 0
    var memorySwap: Int64 = 0
    var nanoCPUs: Int64 = 0
    var cpuset = ""
    /// 0: no limit.
    var pidsLimit: Int64 = 0
    var sharedMemorySize = defaultSharedMemorySize
    static let defaultSharedMemorySize: Int64 = 64 << 20
    var addedCapabilities: [String] = []
    var droppedCapabilities: [String] = []
    var securityOptions: [String] = []
    var storageOptions: [String] = []
    var log = LogSettings()

    /// Program and arguments.
    var arguments: [String] { entrypoint + command }
}

extension ContainerConfig {
    /// The row's text.
    var json: JSON { ["Image": .string(imageID), "Config": config, "HostConfig": hostConfig] }

    /// `Config` of `inspect`.
    var config: JSON {
        var labelObject = JSONObject()
        for label in labels { labelObject[label.name] = .string(label.value) }
        return [
            "Hostname": .string(hostname),
            "Domainname": "",
            "User": .string(user),
            "AttachStdin": .bool(keepsStandardInput),
            "Tty": .bool(terminal),
            "OpenStdin": .bool(keepsStandardInput),
            "Env": .strings(environment),
            "Cmd": command.isEmpty ? .null : .strings(command),
            "Image": .string(image),
            "WorkingDir": .string(workingDirectory),
            "Entrypoint": entrypoint.isEmpty ? .null : .strings(entrypoint),
            "Labels": .object(labelObject),
            "StopSignal": .string(stopSignal),
            "StopTimeout": .integer(stopTimeout),
        ]
    }

    /// `HostConfig` of `inspect`.
    var hostConfig: JSON {
        var tmpfs = JSONObject()
        for text in temporaryFileSystems {
            let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
            tmpfs[parts[0]] = .string(parts.count == 2 ? parts[1] : "")
        }
        return [
            "Binds": binds.isEmpty ? .null : .strings(binds),
            "LogConfig": log.json,
            "NetworkMode": .string(network),
            "AutoRemove": .bool(removeWhenDone),
            "CapAdd": addedCapabilities.isEmpty ? .null : .strings(addedCapabilities),
            "CapDrop": droppedCapabilities.isEmpty ? .null : .strings(droppedCapabilities),
            "ReadonlyRootfs": .bool(readOnly),
            "SecurityOpt": securityOptions.isEmpty ? .null : .strings(securityOptions),
            "StorageOpt": storageOptions.isEmpty ? .null : .strings(storageOptions),
            "Tmpfs": temporaryFileSystems.isEmpty ? .null : .object(tmpfs),
            "UsernsMode": userNamespace ? "private" : "host",
            "ShmSize": .integer(sharedMemorySize),
            "Memory": .integer(memory),
            "MemorySwap": .integer(memorySwap),
            "NanoCpus": .integer(nanoCPUs),
            "CpusetCpus": .string(cpuset),
            "PidsLimit": pidsLimit > 0 ? .integer(pidsLimit) : .null,
            "Init": .bool(usesInit),
        ]
    }

    /// Reads what `json` wrote; a field that is missing takes its default.
    init(json: JSON) throws {
        let config = json["Config"] ?? .null
        let host = json["HostConfig"] ?? .null
        imageID = json["Image"]?.string ?? ""
        image = config["Image"]?.string ?? ""
        entrypoint = config["Entrypoint"]?.strings ?? []
        command = config["Cmd"]?.strings ?? []
        environment = config["Env"]?.strings ?? []
        workingDirectory = config["WorkingDir"]?.string ?? "/"
        user = config["User"]?.string ?? ""
        hostname = config["Hostname"]?.string ?? ""
        labels = (config["Labels"]?.object ?? JSONObject()).map { ($0.key, $0.value.string ?? "") }
        terminal = config["Tty"]?.bool ?? false
        keepsStandardInput = config["OpenStdin"]?.bool ?? false
        stopSignal = config["StopSignal"]?.string ?? stopSignal
        stopTimeout = config["StopTimeout"]?.int ?? stopTimeout
        removeWhenDone = host["AutoRemove"]?.bool ?? false
        readOnly = host["ReadonlyRootfs"]?.bool ?? false
        usesInit = host["Init"]?.bool ?? false
        userNamespace = host["UsernsMode"]?.string == "private"
        network = host["NetworkMode"]?.string ?? network
        binds = host["Binds"]?.strings ?? []
        temporaryFileSystems = (host["Tmpfs"]?.object ?? JSONObject()).map { member in
            let options = member.value.string ?? ""
            return options.isEmpty ? member.key : "\(member.key):\(options)"
        }
        memory = host["Memory"]?.int64 ?? 0
        memorySwap = host["MemorySwap"]?.int64 ?? 0
        nanoCPUs = host["NanoCpus"]?.int64 ?? 0
        cpuset = host["CpusetCpus"]?.string ?? ""
        pidsLimit = host["PidsLimit"]?.int64 ?? 0
        sharedMemorySize = host["ShmSize"]?.int64 ?? sharedMemorySize
        addedCapabilities = host["CapAdd"]?.strings ?? []
        droppedCapabilities = host["CapDrop"]?.strings ?? []
        securityOptions = host["SecurityOpt"]?.strings ?? []
        storageOptions = host["StorageOpt"]?.strings ?? []
        log = try LogSettings(json: host["LogConfig"])
    }
}
