// SPDX-License-Identifier: Apache-2.0

import Glibc
import Images
import JSON
import LinuxSys
import Runtime
import SystemPackage

extension ContainerConfig {
    /// Merges an image's configuration with the user's options by Docker's rules.
    ///
    /// - Parameter hostEnvironment: where `-e NAME` without a value takes its value.
    init(
        _ options: ContainerOptions,
        image: ImageConfig,
        imageID: String,
        containerID: String,
        hostEnvironment: (String) -> String? = ContainerConfig.variable
    ) throws {
        self.init()
        self.image = options.image
        self.imageID = imageID
        try takeProcess(options, image: image, containerID: containerID, hostEnvironment: hostEnvironment)
        removeWhenDone = options.removeWhenDone
        readOnly = options.readOnly
        usesInit = options.usesInit
        userNamespace = options.userNamespace
        network = options.network
        binds = options.volumes
        temporaryFileSystems = options.temporaryFileSystems
        try refuseTwoMountsAtOnePlace()
        try takeLimits(options)
        addedCapabilities = options.addedCapabilities
        droppedCapabilities = options.droppedCapabilities
        securityOptions = options.securityOptions
        storageOptions = options.storageOptions
        log = try LogSettings(driver: options.logDriver, options: options.logOptions)
    }

    /// Reads what is to be mounted, each at a place of its own.
    private func refuseTwoMountsAtOnePlace() throws {
        var targets: Set<FilePath> = []
        let wanted =
            try binds.map { try BindMount(parsing: $0).target }
            + temporaryFileSystems.map { try TemporaryFileSystem(parsing: $0).target }
        for target in wanted where !targets.insert(FilePath(target).lexicallyNormalized()).inserted {
            throw EngineError(
                .usage,
                "Duplicate mount point: \(target): give each --volume and --tmpfs its own"
            )
        }
    }

    private mutating func takeProcess(
        _ options: ContainerOptions,
        image: ImageConfig,
        containerID: String,
        hostEnvironment: (String) -> String?
    ) throws {
        if let override = options.entrypoint {
            entrypoint = override.isEmpty ? [] : [override]
            command = options.command
        } else {
            entrypoint = image.entrypoint ?? []
            command = options.command.isEmpty ? image.command ?? [] : options.command
        }
        guard !arguments.isEmpty else {
            throw EngineError(.usage, "no command specified: image \(options.image) has none, so give one")
        }
        hostname =
            options.hostname ?? (options.network == "host" ? Self.hostName() : String(containerID.prefix(12)))
        guard !hostname.isEmpty, hostname.utf8.count <= 64, !hostname.utf8.contains(0) else {
            throw EngineError(.usage, "invalid hostname '\(hostname)': 1 to 64 bytes (sethostname(2))")
        }
        terminal = options.terminal
        keepsStandardInput = options.interactive
        environment = Self.environment(image.environment + options.environment, lookUp: hostEnvironment)
        user = options.user ?? image.user
        let directory = options.workingDirectory ?? image.workingDirectory
        guard directory.isEmpty || directory.hasPrefix("/") else {
            throw EngineError(
                .usage,
                "the working directory '\(directory)' is invalid, it needs to be an absolute path"
            )
        }
        workingDirectory = directory.isEmpty ? "/" : directory
        for label in image.labels { setLabel(label.key, label.value) }
        for text in options.labels {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                String.init
            )
            setLabel(parts[0], parts.count == 2 ? parts[1] : "")
        }
        let signal = options.stopSignal ?? image.stopSignal ?? "SIGTERM"
        guard let number = Signals.number(signal) else {
            throw EngineError(.usage, "invalid signal: \(signal)")
        }
        stopSignal = Signals.name(number)
        stopTimeout = options.stopTimeout ?? image.stopTimeout ?? 10
    }

    private mutating func takeLimits(_ options: ContainerOptions) throws {
        if let memory = options.memory {
            guard memory >= 6 << 20 else { throw EngineError(.usage, "Minimum memory limit allowed is 6MB") }
            self.memory = memory
        }
        if let swap = options.memorySwap {
            guard options.memory != nil else {
                throw EngineError(
                    .usage,
                    "You should always set the Memory limit when using Memoryswap limit"
                )
            }
            guard swap == -1 || swap >= memory else {
                throw EngineError(.usage, "Minimum memoryswap limit should be larger than memory limit")
            }
            memorySwap = swap
        }
        if let cpus = options.nanoCPUs {
            let available = Int64(sysconf(CInt(_SC_NPROCESSORS_CONF)))
            guard cpus >= 10_000_000, cpus <= available * 1_000_000_000 else {
                throw EngineError(
                    .usage,
                    "Range of CPUs is from 0.01 to \(available).00, as there are only \(available) CPUs available"
                )
            }
            nanoCPUs = cpus
        }
        cpuset = try Self.cpuset(options.cpuset ?? "")
        pidsLimit = max(0, options.pidsLimit ?? 0)
        if let size = options.sharedMemorySize {
            guard size > 0 else { throw EngineError(.usage, "SHM size can not be less than 0") }
            sharedMemorySize = size
        }
    }

    private static func cpuset(_ text: String) throws -> String {
        if text.isEmpty { return text }
        guard let wanted = CPUList(text) else {
            throw EngineError(
                .usage,
                "Invalid value \(text) for cpuset cpus: invalid format: write it as 0-2,5"
            )
        }
        if let available = CPUList.available(), !wanted.isSubset(of: available) {
            throw EngineError(
                .usage,
                "Requested CPUs are not available - requested \(text), available: \(available)"
            )
        }
        return text
    }

    private mutating func setLabel(_ name: String, _ value: String) {
        if let index = labels.firstIndex(where: { $0.name == name }) {
            labels[index].value = value
        } else {
            labels.append((name, value))
        }
    }

    /// The environment of the container's processes: what every container has, overridden by its own.
    var processEnvironment: [String] {
        var all = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=\(hostname)",
        ]
        if terminal { all.append("TERM=xterm") }
        return Self.environment(all + environment, lookUp: { _ in nil })
    }

    /// Each name once, the last value given; `NAME` alone takes the value that `lookUp` has, or goes.
    private static func environment(_ texts: [String], lookUp: (String) -> String?) -> [String] {
        var names: [String] = []
        var values: [String?] = []
        // As a rule there are few, and looking through them costs less than a dictionary.
        var places: [String: Int] = [:]
        let isLong = texts.count > 32
        func place(of name: String) -> Int? {
            isLong ? places[name] : names.indices.first { names[$0] == name && values[$0] != nil }
        }
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            let value = parts.count == 2 ? String(parts[1]) : lookUp(text)
            if let place = place(of: name) {
                values[place] = value
                if value == nil, isLong { places[name] = nil }
            } else if value != nil {
                if isLong { places[name] = names.count }
                names.append(name)
                values.append(value)
            }
        }
        return zip(names, values).compactMap { name, value in value.map { "\(name)=\($0)" } }
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private static func hostName() -> String {
        var name = [CChar](repeating: 0, count: 65)
        guard gethostname(&name, 64) == 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension ContainerConfig {
    /// What a commit keeps of it in the new image's config, in Docker's names.
    var imageProcess: JSONObject {
        var object: JSONObject = ["Env": .strings(environment), "WorkingDir": .string(workingDirectory)]
        if !user.isEmpty { object["User"] = .string(user) }
        if !command.isEmpty { object["Cmd"] = .strings(command) }
        if !entrypoint.isEmpty { object["Entrypoint"] = .strings(entrypoint) }
        if !labels.isEmpty {
            var all = JSONObject()
            for label in labels { all[label.name] = .string(label.value) }
            object["Labels"] = .object(all)
        }
        if stopSignal != "SIGTERM" { object["StopSignal"] = .string(stopSignal) }
        return object
    }
}
