// SPDX-License-Identifier: Apache-2.0

/// What a user asked of a container: the flags of `create` and `run`, each `nil` or empty where not given.
package struct ContainerOptions: Sendable {
    package var image = ""
    package var command: [String] = []
    package var name: String?
    package var entrypoint: String?
    package var environment: [String] = []
    package var workingDirectory: String?
    package var user: String?
    package var hostname: String?
    package var labels: [String] = []
    package var terminal = false
    package var interactive = false
    package var detached = false
    package var removeWhenDone = false
    package var readOnly = false
    package var usesInit = false
    package var userNamespace = false
    package var network = "none"
    package var volumes: [String] = []
    package var temporaryFileSystems: [String] = []
    /// Bytes.
    package var memory: Int64?
    /// Bytes; memory and swap together, -1 for no limit.
    package var memorySwap: Int64?
    /// Billionths of a processor.
    package var nanoCPUs: Int64?
    package var cpuset: String?
    package var pidsLimit: Int64?
    package var sharedMemorySize: Int64?
    package var addedCapabilities: [String] = []
    package var droppedCapabilities: [String] = []
    package var securityOptions: [String] = []
    package var stopSignal: String?
    package var stopTimeout: Int?
    package var logDriver: String?
    /// `NAME=VALUE` each.
    package var logOptions: [String] = []
    package var storageDriver: String?
    package var storageOptions: [String] = []

    package init() {}

    /// Whether `run` itself holds the container, which needs no supervisor then.
    package var isHeldInFront: Bool { removeWhenDone && !terminal && !detached }
}

/// `-v SOURCE:TARGET[:OPTIONS]`: a host path seen in the container.
struct BindMount: Hashable, Sendable {
    var source: String
    var target: String
    var readOnly: Bool
    /// Docker's propagation word, `rprivate` unless given.
    var propagation: String

    /// Parses Docker's short form for host paths.
    init(parsing text: String) throws {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count) else {
            throw EngineError(.usage, "invalid volume specification: '\(text)': give SOURCE:TARGET[:ro]")
        }
        guard !parts.contains("") else {
            throw EngineError(.usage, "invalid volume specification: '\(text)': empty section between colons")
        }
        guard parts[0].hasPrefix("/") else {
            throw EngineError(
                .usage,
                "invalid volume specification: '\(text)': '\(parts[0])' is a named volume, which this version does not"
                    + " have; give an absolute host path"
            )
        }
        guard parts[1].hasPrefix("/"), parts[1] != "/" else {
            throw EngineError(
                .usage,
                "invalid volume specification: '\(text)': the target must be an absolute path other than /"
            )
        }
        source = parts[0]
        target = parts[1]
        readOnly = false
        propagation = "rprivate"
        let options = parts.count == 3 ? parts[2].split(separator: ",", omittingEmptySubsequences: false) : []
        guard !(options.contains("ro") && options.contains("rw")) else {
            throw EngineError(.usage, "invalid volume specification: '\(text)': invalid mode: \(parts[2])")
        }
        for option in options {
            switch option {
            case "ro": readOnly = true
            case "rw": readOnly = false
            case "private", "rprivate", "shared", "rshared", "slave", "rslave": propagation = String(option)
            // SELinux labels are not made here; the rest do nothing on Linux in Docker either.
            case "z", "Z", "nocopy", "cached", "delegated", "consistent": break
            default:
                throw EngineError(.usage, "invalid volume specification: '\(text)': invalid mode: \(option)")
            }
        }
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
struct TemporaryFileSystem: Hashable, Sendable {
    var target: String
    /// As mount(8) takes them.
    var options: [String]

    init(parsing text: String) throws {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init
        )
        guard parts[0].hasPrefix("/"), parts[0] != "/" else {
            throw EngineError(
                .usage,
                "invalid tmpfs '\(text)': the target must be an absolute path other than /"
            )
        }
        target = parts[0]
        options = parts.count == 2 ? parts[1].split(separator: ",").map(String.init) : []
        let known = [
            "rw", "ro", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "size", "mode", "uid",
            "gid", "nr_inodes",
        ]
        for option in options {
            let word = option.prefix { $0 != "=" }
            guard known.contains(String(word)) else {
                throw EngineError(.usage, "invalid tmpfs option '\(option)' in '\(text)'")
            }
        }
    }
}
