// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import Launch
import LinuxSys
import Runtime
import SystemPackage

extension ContainerConfig {
    /// The OCI specification of a container with this configuration.
    ///
    /// The user is left for `setUser`, which needs the container's /etc/passwd.
    func spec(id: String, directory: FilePath) throws -> Spec {
        var spec = Self.isolation(network: network, sharedMemorySize: sharedMemorySize)
        spec.process.args = arguments
        spec.process.env = processEnvironment
        spec.process.cwd = workingDirectory
        spec.process.terminal = terminal
        spec.root.readonly = readOnly
        spec.hostname = hostname
        spec.linux.cgroupsPath = "/strata/\(id)"
        let capabilities = try capabilitySet()
        spec.process.capabilities = Spec.CapabilitySets(capabilities)
        spec.linux.seccomp = try seccompProfile(capabilities)
        spec.process.noNewPrivileges = try boolean("no-new-privileges")
        setResources(&spec.linux.resources)
        try addMounts(&spec, directory: directory)
        if userNamespace { mapIDs(&spec) }
        return spec
    }

    /// The part of `spec` that no image has a say in: namespaces and file systems.
    static func isolation(network: String, sharedMemorySize: Int64) -> Spec {
        var spec = SpecDefaults.container()
        spec.linux.namespaces.removeAll { network == "host" && $0.kind == .network }
        if let index = spec.mounts.firstIndex(where: { $0.destination == "/dev/shm" }) {
            spec.mounts[index].options.removeAll { $0.hasPrefix("size=") }
            spec.mounts[index].options.append("size=\(sharedMemorySize)")
        }
        return spec
    }

    /// The user by the container's own files, and its home.
    func setUser(of spec: inout Spec, root: CInt) throws {
        let user = try UserLookup.resolve(self.user, root: root)
        spec.process.user = user.specUser
        if !spec.process.env.contains(where: { $0.hasPrefix("HOME=") }) {
            spec.process.env.append("HOME=\(user.home)")
        }
    }

    /// Whether `spec` says what files of the host held when it was asked.
    var readsHostFiles: Bool {
        guard let profile = securityOption("seccomp") else { return false }
        return profile != "unconfined"
    }

    private func setResources(_ resources: inout Spec.Resources) {
        if memory > 0 {
            resources.memory = memory
            // Docker's rule: as much swap again unless told otherwise.
            resources.memorySwap =
                memorySwap != 0 ? memorySwap : memory.multipliedReportingOverflow(by: 2).partialValue
        }
        if nanoCPUs > 0 {
            resources.cpuPeriod = 100_000
            resources.cpuQuota = nanoCPUs / 10_000
        }
        if !cpuset.isEmpty { resources.cpusetCPUs = cpuset }
        if pidsLimit > 0 { resources.pids = pidsLimit }
    }

    private func addMounts(_ spec: inout Spec, directory: FilePath) throws {
        for (file, target) in ContainerFiles.mountPoints {
            spec.mounts.append(
                Spec.Mount(
                    destination: target,
                    type: "bind",
                    source: directory.appending(file).string,
                    options: ["rbind", "rprivate"]
                )
            )
        }
        for text in temporaryFileSystems {
            let tmpfs = try TemporaryFileSystem(parsing: text)
            add(
                Spec.Mount(
                    destination: tmpfs.target,
                    type: "tmpfs",
                    source: "tmpfs",
                    options: tmpfs.options.contains { $0 == "exec" }
                        ? ["nosuid", "nodev"] + tmpfs.options
                        : ["nosuid", "nodev", "noexec"] + tmpfs.options
                ),
                to: &spec
            )
        }
        for text in binds {
            let bind = try BindMount(parsing: text)
            add(
                Spec.Mount(
                    destination: bind.target,
                    type: "bind",
                    source: bind.source,
                    options: ["rbind", bind.propagation] + (bind.readOnly ? ["ro"] : [])
                ),
                to: &spec
            )
        }
    }

    /// A mount of the user takes the place of the default one at the same target.
    private func add(_ mount: Spec.Mount, to spec: inout Spec) {
        spec.mounts.removeAll { $0.destination == mount.destination }
        spec.mounts.append(mount)
    }

    /// Root inside is an ordinary user outside; 65,536 ids, as the usual range of /etc/subuid.
    private func mapIDs(_ spec: inout Spec) {
        let mapping = Spec.IDMapping(containerID: 0, hostID: Self.firstHostID, size: 65_536)
        spec.linux.namespaces.insert(Spec.Namespace(.user), at: 0)
        spec.linux.uidMappings = [mapping]
        spec.linux.gidMappings = [mapping]
    }

    static let firstHostID: UInt32 = 100_000

    private func capabilitySet() throws -> CapabilitySet {
        var set = CapabilitySet.containerDefault
        func named(_ text: String) throws -> CapabilitySet {
            if text.uppercased() == "ALL" { return .all }
            let upper = text.uppercased()
            guard let capability = CapabilitySet(name: upper.hasPrefix("CAP_") ? upper : "CAP_" + upper)
            else {
                throw EngineError(
                    .usage,
                    "invalid capability: \"\(text)\": see capabilities(7) for their names"
                )
            }
            return capability
        }
        if droppedCapabilities.contains(where: { $0.uppercased() == "ALL" }) { set = [] }
        for text in addedCapabilities { set.formUnion(try named(text)) }
        for text in droppedCapabilities where text.uppercased() != "ALL" { set.subtract(try named(text)) }
        return set
    }

    private func seccompProfile(_ capabilities: CapabilitySet) throws -> SeccompProfile? {
        guard let value = securityOption("seccomp") else { return .containerDefault(capabilities) }
        if value == "unconfined" { return nil }
        let path = FilePath(value)
        do {
            let file = try Files.open(path, O_RDONLY)
            let bytes = try Files.contents(of: file.raw, limit: 4 << 20, name: value)
            return try SeccompProfile(try JSON.parse(bytes), capabilities: capabilities)
        } catch {
            throw EngineError(.usage, "opening seccomp profile (\(value)) failed: \(error)")
        }
    }

    /// The value of `--security-opt NAME=VALUE` (or `NAME:VALUE`).
    private func securityOption(_ name: String) -> String? {
        for option in securityOptions {
            for separator in ["=", ":"] where option.hasPrefix(name + separator) {
                return String(option.dropFirst(name.count + 1))
            }
        }
        return nil
    }

    private func boolean(_ name: String) throws -> Bool {
        if securityOptions.contains(name) { return true }
        guard let value = securityOption(name) else { return false }
        guard let answer = Bool(value) else {
            throw EngineError(.usage, "invalid --security-opt \(name)=\(value): true or false")
        }
        return answer
    }

    /// Refuses options that nothing here can serve.
    func checkSecurityOptions() throws {
        for option in securityOptions {
            let name = option.prefix { $0 != "=" && $0 != ":" }
            guard ["seccomp", "no-new-privileges"].contains(name) else {
                throw EngineError(
                    .unsupported,
                    "invalid --security-opt \(option): seccomp=FILE|unconfined and no-new-privileges are known"
                )
            }
        }
    }
}
