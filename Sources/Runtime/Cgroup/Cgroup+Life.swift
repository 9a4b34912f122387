// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

extension Cgroup {
    /// The directory that knows the processes.
    private var main: FilePath { directory("freezer") }

    package var exists: Bool { (try? Files.status(main)) != nil }

    /// Pids (of the engine's namespace) of all processes in it and below.
    package func processes() throws(RuntimeError) -> [CInt] {
        var pids: [CInt] = []
        for directory in try tree(main) {
            let text = read(directory.appending("cgroup.procs")) ?? ""
            pids += text.split(separator: "\n").compactMap { CInt($0) }
        }
        return pids
    }

    /// Stops all processes; returns when they have stopped.
    package func freeze() throws(RuntimeError) { try setFrozen(true) }

    package func thaw() throws(RuntimeError) { try setFrozen(false) }

    private func setFrozen(_ frozen: Bool) throws(RuntimeError) {
        switch hierarchies.version {
        case .v1: try write(frozen ? "FROZEN" : "THAWED", to: main.appending("freezer.state"))
        case .v2: try write(frozen ? "1" : "0", to: main.appending("cgroup.freeze"))
        }
        for attempt in 0..<1000 {
            if isFrozen == frozen { return }
            usleep(attempt < 20 ? 100 : 10_000)
            // A v1 freezer that meets a process in fork or vfork has to be asked again.
            if hierarchies.version == .v1 && frozen && attempt % 50 == 49 {
                try write("THAWED", to: main.appending("freezer.state"))
                try write("FROZEN", to: main.appending("freezer.state"))
            }
        }
        throw RuntimeError(
            .system,
            "\(frozen ? "freeze" : "thaw") cgroup \(path): its processes did not \(frozen ? "stop" : "go on") in 10 s"
        )
    }

    package var isFrozen: Bool {
        switch hierarchies.version {
        case .v1: read(main.appending("freezer.state")) == "FROZEN\n"
        case .v2: (read(main.appending("cgroup.events")) ?? "").split(separator: "\n").contains("frozen 1")
        }
    }

    /// Kills everything in it and waits until it is empty; absent is success.
    package func kill() throws(RuntimeError) {
        guard exists else { return }
        let killFile = main.appending("cgroup.kill")
        for attempt in 0..<2000 {
            let pids = try processes()
            if pids.isEmpty { return }
            if hierarchies.version == .v2, (try? Files.status(killFile)) != nil {
                try write("1", to: killFile)
            } else {
                // Frozen while the list is read, so that nothing forks away from it.
                if attempt > 0 { try? freeze() }
                for pid in try processes() { _ = Glibc.kill(pid, SIGKILL) }
                if attempt > 0 { try thaw() }
            }
            usleep(attempt < 50 ? 200 : 5000)
        }
        throw RuntimeError(.system, "kill cgroup \(path): processes are still there after 10 s")
    }

    /// Ends whatever is left in it and removes it; absent is success.
    package func end() throws(RuntimeError) {
        // Nearly always nothing is left.
        if isRemovedAsEmpty() { return }
        try kill()
        try remove()
    }

    /// Tries one call a directory, the freezer's first, which knows all processes.
    private func isRemovedAsEmpty() -> Bool {
        for directory in possibleDirectories {
            do throws(SystemError) { try Files.unlink(directory, isDirectory: true) } catch { return false }
        }
        return true
    }

    /// Removes it; absent is success.
    ///
    /// A process that has just died holds it a little longer.
    package func remove() throws(RuntimeError) { try remove(attempts: 400) }

    func remove(attempts: Int) throws(RuntimeError) {
        for directory in directories() {
            for leaf in try tree(directory).reversed() { try remove(leaf, attempts: attempts) }
        }
    }

    /// Removes the cgroups directly below `parent` that have had no process for a while: nobody is starting one any more,
    /// and whoever should have removed it was killed.
    ///
    /// Its age is that of the kernel's cached inode: one that the kernel had forgotten is young again when it is looked
    /// at, and goes the next time.
    ///
    /// - Returns: the names of those that are gone.
    package static func removeAbandoned(
        below parent: String,
        in hierarchies: CgroupHierarchies,
        idleSeconds: Int64 = 60
    ) -> [String] {
        let all = Cgroup(parent, in: hierarchies)
        var gone: Set<String> = []
        for directory in all.directories() {
            guard let descriptor = try? Files.openDirectory(directory),
                let entries = try? Files.list(descriptor.raw)
            else { continue }
            for entry in entries where entry.kind == .directory {
                guard let status = try? Files.status(entry.name, below: descriptor.raw),
                    Timestamp.now.seconds - status.mtime.seconds >= idleSeconds,
                    // The kernel refuses one with processes or with cgroups below it.
                    (try? Files.unlink(entry.name, below: descriptor.raw, isDirectory: true)) == true
                else { continue }
                gone.insert(entry.name.printable)
            }
        }
        return gone.sorted()
    }

    private func remove(_ directory: FilePath, attempts: Int) throws(RuntimeError) {
        for attempt in 0..<attempts {
            do throws(SystemError) {
                try Files.unlink(directory, isDirectory: true)
                return
            } catch {
                if error.errno != .resourceBusy || attempt == attempts - 1 {
                    throw RuntimeError(error, doing: "remove cgroup \(path)")
                }
            }
            usleep(attempt < 20 ? 100 : 5000)
        }
    }

    /// `directory` and all below it, parents first; empty if it is not there.
    private func tree(_ directory: FilePath) throws(RuntimeError) -> [FilePath] {
        var all: [FilePath] = []
        var pending = [directory]
        while let next = pending.popLast() {
            guard let descriptor = try? Files.openDirectory(next) else { continue }
            all.append(next)
            let entries = (try? Files.list(descriptor.raw)) ?? []
            for entry in entries where entry.kind == .directory {
                pending.append(FilePath(next.string + "/" + entry.name.printable))
            }
        }
        return all
    }

    /// What the container has used; fields whose controller it does not have are `nil`.
    package func statistics() -> CgroupStatistics {
        var result = CgroupStatistics()
        result.pids = (try? processes())?.count
        let memory = directory("memory")
        switch hierarchies.version {
        case .v1:
            result.memory = number(memory.appending("memory.usage_in_bytes"))
            result.memoryLimit = number(memory.appending("memory.limit_in_bytes"))
            result.outOfMemoryKills = field("oom_kill", in: memory.appending("memory.oom_control"))
            result.cpuNanoseconds = number(directory("cpuacct").appending("cpuacct.usage"))
        case .v2:
            result.memory = number(memory.appending("memory.current"))
            result.memoryLimit = number(memory.appending("memory.max"))
            result.outOfMemoryKills = field("oom_kill", in: memory.appending("memory.events"))
            result.cpuNanoseconds = field("usage_usec", in: memory.appending("cpu.stat")).map { $0 &* 1000 }
        }
        return result
    }

    private func number(_ file: FilePath) -> Int64? {
        read(file).flatMap { Int64($0.prefix { $0 != "\n" }) }
    }

    private func field(_ name: String, in file: FilePath) -> Int64? {
        for line in (read(file) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return Int64(words[1]) }
        }
        return nil
    }
}

/// What a cgroup has used.
package struct CgroupStatistics: Sendable, Equatable {
    /// Bytes.
    package var memory: Int64?
    /// `nil` for no limit on v2; v1 says a number near 2^63.
    package var memoryLimit: Int64?
    /// Processes killed because memory ran out.
    package var outOfMemoryKills: Int64?
    package var cpuNanoseconds: Int64?
    package var pids: Int?

    package init() {}
}
