// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

extension Cgroup {
    func makeV1(_ controller: String) throws(RuntimeError) {
        let base = hierarchies.root.appending(controller)
        try makeDirectories(directory(controller), above: base)
        if controller == "cpuset" { try inheritCPUSet(base) }
    }

    /// A v1 cpuset starts empty, and no process can enter an empty one.
    private func inheritCPUSet(_ base: FilePath) throws(RuntimeError) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            var current = base
            var value = read(base.appending(file)) ?? ""
            for component in FilePath(path).components {
                current.append(component)
                let own = read(current.appending(file)) ?? ""
                if own.contains(where: { $0.isNumber }) {
                    value = own
                } else {
                    try write(value, to: current.appending(file))
                }
            }
        }
    }

    func setV1(_ resources: Spec.Resources) throws(RuntimeError) {
        try setMemoryV1(resources)
        let cpu = directory("cpu")
        if let shares = resources.cpuShares { try write("\(shares)", to: cpu.appending("cpu.shares")) }
        if let period = resources.cpuPeriod { try write("\(period)", to: cpu.appending("cpu.cfs_period_us")) }
        if let quota = resources.cpuQuota { try write("\(quota)", to: cpu.appending("cpu.cfs_quota_us")) }
        let cpuset = directory("cpuset")
        if let cpus = resources.cpusetCPUs { try write(cpus, to: cpuset.appending("cpuset.cpus")) }
        if let nodes = resources.cpusetMemoryNodes { try write(nodes, to: cpuset.appending("cpuset.mems")) }
        if let pids = resources.pids {
            try write(pids > 0 ? "\(pids)" : "max", to: directory("pids").appending("pids.max"))
        }
        try setDevicesV1(resources.devices)
    }

    /// One write a rule, in their order.
    private func setDevicesV1(_ rules: [Spec.DeviceRule]) throws(RuntimeError) {
        if rules.isEmpty { return }
        let devices = directory("devices")
        try attempt("set the device rules of cgroup \(path)") { () throws(SystemError) in
            let allow = try Files.open(devices.appending("devices.allow"), O_WRONLY)
            let deny = try Files.open(devices.appending("devices.deny"), O_WRONLY)
            for rule in rules {
                try Files.writeAll(Array(rule.text.utf8), to: rule.allow ? allow.raw : deny.raw)
            }
        }
    }

    /// The limit with swap may never be below the limit without; which goes first depends on the direction.
    private func setMemoryV1(_ resources: Spec.Resources) throws(RuntimeError) {
        let memory = directory("memory")
        let limitFile = memory.appending("memory.limit_in_bytes")
        let swapFile = memory.appending("memory.memsw.limit_in_bytes")
        let hasSwap = resources.memorySwap != nil && (try? Files.status(swapFile)) != nil
        if let limit = resources.memory {
            do throws(RuntimeError) {
                try write("\(limit)", to: limitFile)
            } catch {
                guard hasSwap, let swap = resources.memorySwap else { throw error }
                try write("\(swap)", to: swapFile)
                try write("\(limit)", to: limitFile)
            }
        }
        if hasSwap, let swap = resources.memorySwap { try write("\(swap)", to: swapFile) }
        if let reservation = resources.memoryReservation {
            try write("\(reservation)", to: memory.appending("memory.soft_limit_in_bytes"))
        }
    }
}

extension Spec.DeviceRule {
    /// As the v1 files take it: `c 1:3 rwm`, `a` for everything.
    var text: String {
        if type == "a" && major == nil && minor == nil { return "a" }
        return "\(type) \(major.map { "\($0)" } ?? "*"):\(minor.map { "\($0)" } ?? "*") \(access)"
    }
}
