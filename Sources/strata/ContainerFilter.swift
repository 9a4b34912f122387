// SPDX-License-Identifier: Apache-2.0

import Engine

/// `ps --filter`: values of one name are alternatives, names must all match.
struct ContainerFilter {
    private var wanted: [String: [String]] = [:]
    private var names: [Pattern] = []

    private static let known = [
        "id", "name", "label", "status", "exited", "ancestor", "before", "since", "network", "volume",
    ]

    init(_ filters: [String]) throws {
        for filter in filters {
            let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw EngineError(.usage, "invalid filter '\(filter)': write NAME=VALUE")
            }
            guard Self.known.contains(parts[0]) else {
                throw EngineError(
                    .usage,
                    "invalid filter '\(parts[0])': \(Self.known.joined(separator: ", ")) are known"
                )
            }
            if parts[0] == "status", ContainerState.Status(rawValue: parts[1]) == nil {
                throw EngineError(
                    .usage,
                    "invalid filter 'status=\(parts[1])': created, running, paused, exited or dead"
                )
            }
            if parts[0] == "name" { names.append(try Pattern(parts[1])) }
            wanted[parts[0], default: []].append(parts[1])
        }
    }

    /// Whether it asks for containers that do not run.
    var wantsAll: Bool { wanted["status"] != nil || wanted["exited"] != nil }

    /// Those that match, in their order.
    func matching(_ containers: [ContainerSummary], in engine: Engine) throws -> [ContainerSummary] {
        var filter = self
        // Containers that others are compared with, which need not be among those listed.
        for name in ["before", "since"] {
            filter.wanted[name] = try wanted[name]?.map { "\(try engine.created($0))" }
        }
        return try containers.filter(filter.matches)
    }

    private func matches(_ container: ContainerSummary) throws -> Bool {
        try wanted.allSatisfy { name, values in try values.contains { try matches(container, name, $0) } }
    }

    private func matches(_ container: ContainerSummary, _ name: String, _ value: String) throws -> Bool {
        let record = container.record
        switch name {
        case "id": return record.id.hasPrefix(value)
        // With and without the slash that Docker puts before it.
        case "name": return names.contains { $0.matches(record.name) || $0.matches("/" + record.name) }
        case "status": return container.state.status.rawValue == value
        case "exited": return container.state.status == .exited && "\(container.state.exitCode)" == value
        case "ancestor":
            return record.imageReference == value || record.image == value
                || record.image.dropFirst(7).hasPrefix(value)
        case "before": return record.created < Int64(value) ?? 0
        case "since": return record.created > Int64(value) ?? 0
        case "network": return try container.network == value
        case "volume": return try container.volumes.contains { $0.source == value || $0.target == value }
        default:
            let label = value.split(separator: "=", maxSplits: 1).map(String.init)
            return try container.labels.contains {
                $0.name == label[0] && (label.count == 1 || $0.value == label[1])
            }
        }
    }
}
