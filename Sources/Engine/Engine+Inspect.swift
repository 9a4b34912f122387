// SPDX-License-Identifier: Apache-2.0

import Images
package import JSON
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

/// A container with what it does now.
package final class ContainerSummary: Sendable {
    // A class, since a listing hands thousands around, and a copy of a record counts one more use of each of its texts.
    package let record: ContainerRecord
    package let state: ContainerState

    init(record: consuming ContainerRecord, state: consuming ContainerState) {
        self.record = record
        self.state = state
    }

    /// Program and arguments as one line.
    package var command: String { record.command }
    package var labels: [(name: String, value: String)] { get throws { try record.config.labels } }
    package var mounts: [String] {
        get throws { try record.config.binds.map { String($0.prefix { $0 != ":" }) } }
    }
    /// Both ends of each volume, as the user gave them.
    package var volumes: [(source: String, target: String)] {
        get throws { try record.config.binds.map(BindMount.init(parsing:)).map { ($0.source, $0.target) } }
    }
    package var network: String { get throws { try record.config.network } }
}

extension Engine {
    /// Containers, the newest first.
    ///
    /// Cost: one query, and a look at the run directory for those that run.
    ///
    /// - Parameter all: those that do not run too.
    package func list(all: Bool) throws -> [ContainerSummary] {
        let made = try containers.all(onlyRunning: !all) { (record: consuming ContainerRecord) in
            let state = try state(of: record)
            return ContainerSummary(record: record, state: state)
        }
        return all ? made : made.filter(\.state.isRunning)
    }

    /// When a container was made, in nanoseconds since 1970.
    package func created(_ name: String) throws -> Int64 { try containers.find(name).created }

    /// What `inspect` says of a container or, where there is none of this name, of an image.
    package func inspect(_ name: String, withSizes: Bool) throws -> JSON {
        do {
            return try inspectContainer(name, withSizes: withSizes)
        } catch let error as EngineError where error.code == .notFound {
            do {
                return try inspectImage(name)
            } catch let error as StorageError where error.code == .notFound || error.code == .invalid {
                throw EngineError(.notFound, "No such object: \(name)")
            }
        }
    }

    package func inspectContainer(_ name: String, withSizes: Bool) throws -> JSON {
        let record = try containers.find(name)
        return try whileThere(record) { try inspect(record, withSizes: withSizes) }
    }

    private func inspect(_ record: ContainerRecord, withSizes: Bool) throws -> JSON {
        let state = try state(of: record)
        let directory = root.containerPath(record.id)
        let config = try record.config
        var object: JSONObject = [
            "Id": .string(record.id),
            "Created": .string(Timestamp(nanosecondsSince1970: record.created).rfc3339),
            "Path": .string(config.arguments.first ?? ""),
            "Args": .strings(Array(config.arguments.dropFirst())),
            "State": stateJSON(state),
            "Image": .string(record.image),
            "ResolvConfPath": .string(directory.appending("resolv.conf").string),
            "HostnamePath": .string(directory.appending("hostname").string),
            "HostsPath": .string(directory.appending("hosts").string),
            "LogPath": .string(config.log.isKept ? logPath(of: record.id).string : ""),
            "Name": .string("/" + record.name),
            "RestartCount": 0,
            "Driver": .string(record.driver),
            "Platform": "linux",
            "HostConfig": InspectConstants.adding(InspectConstants.hostConfig, to: config.hostConfig),
            "GraphDriver": [
                "Name": .string(record.driver),
                "Data": graphData(try layers.chain(record.layer), driver: record.driver),
            ],
            "Mounts": .array(try config.binds.map(mountJSON)),
            "Config": InspectConstants.adding(InspectConstants.config, to: config.config),
            "NetworkSettings": InspectConstants.adding(
                InspectConstants.network,
                to: ["Ports": [:], "Networks": .object([config.network: .object(InspectConstants.network)])]
            ),
        ]
        for member in InspectConstants.top { object[member.key] = member.value }
        if withSizes {
            let (own, total) = try sizes(of: record)
            object["SizeRw"] = .integer(own)
            object["SizeRootFs"] = .integer(total)
        }
        return .object(object)
    }

    /// Bytes of a container's own layer, and of all its layers.
    package func sizes(of record: ContainerRecord) throws -> (own: Int64, total: Int64) {
        try whileThere(record) {
            let own = try layers.driver(record.driver).usage(record.layer).bytes
            return (own, try layers.ancestry(of: record.layer).dropLast().reduce(own) { $0 + $1.size })
        }
    }

    /// Looks at a container that others may remove meanwhile: whatever fails then, there is no such container.
    func whileThere<T>(_ record: ContainerRecord, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch {
            if try containers.isThere(record.id) { throw error }
            throw EngineError(.notFound, "No such container: \(record.name)")
        }
    }

    private func stateJSON(_ state: ContainerState) -> JSON {
        let never = "0001-01-01T00:00:00Z"
        return [
            "Status": .string(state.status.rawValue),
            "Running": .bool(state.isRunning),
            "Paused": .bool(state.status == .paused),
            "Restarting": false,
            "OOMKilled": .bool(state.outOfMemory),
            "Dead": .bool(state.status == .dead),
            "Pid": .integer(state.pid),
            "ExitCode": .integer(state.exitCode),
            "Error": .string(state.error),
            "StartedAt": .string(state.started?.rfc3339 ?? never),
            "FinishedAt": .string(state.isRunning ? never : state.finished?.rfc3339 ?? never),
        ]
    }

    private func mountJSON(_ text: String) throws -> JSON {
        let bind = try BindMount(parsing: text)
        return [
            "Type": "bind", "Source": .string(bind.source), "Destination": .string(bind.target),
            "Mode": .string(bind.readOnly ? "ro" : ""), "RW": .bool(!bind.readOnly),
            "Propagation": .string(bind.propagation),
        ]
    }
}
