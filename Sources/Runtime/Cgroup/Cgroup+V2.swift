// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

extension Cgroup {
    func makeV2() throws(RuntimeError) {
        try makeDirectories(directory(""), above: hierarchies.root)
    }

    /// Lets the cgroup have `controllers`: each directory above must pass them on.
    private func enable(_ controllers: [String]) throws(RuntimeError) {
        if controllers.isEmpty { return }
        var current = hierarchies.root
        for component in FilePath(path).components {
            let enabled = (read(current.appending("cgroup.subtree_control")) ?? "").split {
                $0 == " " || $0 == "\n"
            }
            let missing = controllers.filter { !enabled.contains(Substring($0)) }
            if !missing.isEmpty {
                do throws(RuntimeError) {
                    try write(
                        missing.map { "+" + $0 }.joined(separator: " "),
                        to: current.appending("cgroup.subtree_control")
                    )
                } catch {
                    throw RuntimeError(
                        .unsupported,
                        "enable cgroup controllers \(missing.joined(separator: ", ")) in \(current): \(error)",
                        remedy:
                            "give the engine a cgroup with these controllers delegated, or run without limits",
                        errno: error.errno
                    )
                }
            }
            current.append(component)
        }
    }

    func setV2(_ resources: Spec.Resources) throws(RuntimeError) {
        try enable(Self.controllers(for: resources).filter { $0 != "freezer" && $0 != "devices" })
        let directory = directory("")
        if let memory = resources.memory {
            try write(memory > 0 ? "\(memory)" : "max", to: directory.appending("memory.max"))
        }
        if let total = resources.memorySwap,
            (try? Files.status(directory.appending("memory.swap.max"))) != nil
        {
            // v2 counts swap alone, the specification counts it with memory.
            let swap = total < 0 ? "max" : "\(max(0, total - (resources.memory ?? 0)))"
            try write(swap, to: directory.appending("memory.swap.max"))
        }
        if let low = resources.memoryReservation {
            try write("\(low)", to: directory.appending("memory.low"))
        }
        if resources.cpuQuota != nil || resources.cpuPeriod != nil {
            let quota = resources.cpuQuota.map { $0 > 0 ? "\($0)" : "max" } ?? "max"
            try write("\(quota) \(resources.cpuPeriod ?? 100_000)", to: directory.appending("cpu.max"))
        }
        if let shares = resources.cpuShares, shares > 0 {
            // The specification's formula: 2...262144 onto 1...10000.
            let weight = 1 + (min(max(shares, 2), 262_144) - 2) * 9999 / 262_142
            try write("\(weight)", to: directory.appending("cpu.weight"))
        }
        if let cpus = resources.cpusetCPUs { try write(cpus, to: directory.appending("cpuset.cpus")) }
        if let nodes = resources.cpusetMemoryNodes {
            try write(nodes, to: directory.appending("cpuset.mems"))
        }
        if let pids = resources.pids {
            try write(pids > 0 ? "\(pids)" : "max", to: directory.appending("pids.max"))
        }
        try setDevicesV2(resources.devices)
    }

    private func setDevicesV2(_ rules: [Spec.DeviceRule]) throws(RuntimeError) {
        if rules.isEmpty { return }
        let program = try DeviceProgram(rules)
        do throws(SystemError) {
            let directory = try Files.openDirectory(directory(""))
            try program.attach(to: directory.raw)
        } catch {
            let remedy =
                error.errno == .notPermitted
                ? "run as root, or with the capabilities CAP_BPF and CAP_NET_ADMIN"
                : "the kernel needs CONFIG_CGROUP_BPF"
            throw RuntimeError(error, doing: "set the device rules of cgroup \(path)", remedy: remedy)
        }
    }
}
