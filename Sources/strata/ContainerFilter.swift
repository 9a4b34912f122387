// SPDX-License-Identifier: Apache-2.0

import Engine

/// `ps --filter`: values of one name are alternatives, names must all match.
struct ContainerFilter {
    private var wanted: [String: [String]] = [:]

    init(_ filters: [String]) throws {
        for filter in filters {
            let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw EngineError(.usage, "invalid filter '\(filter)': write NAME=VALUE")
            }
            guard ["id", "name", "label", "status", "exited", "ancestor"].contains(parts[0]) else {
                throw EngineError(
                    .usage,
                    "invalid filter '\(parts[0])': id, name, label, status, exited and ancestor are known"
                )
            }
            if parts[0] == "status", ContainerState.Status(rawValue: parts[1]) == nil {
                throw EngineError(
                    .usage,
                    "invalid filter 'status=\(parts[1])': created, running, paused, exited or dead"
                )
            }
            wanted[parts[0], default: []].append(parts[1])
        }
    }

    /// Whether it asks for containers that do not run.
    var wantsAll: Bool { wanted["status"] != nil || wanted["exited"] != nil }

    func matches(_ container: ContainerSummary) throws -> Bool {
        try wanted.allSatisfy { name, values in try values.contains { try matches(container, name, $0) } }
    }

    private func matches(_ container: ContainerSummary, _ name: String, _ value: String) throws -> Bool {
        let record = container.record
        switch name {
        case "id": return record.id.hasPrefix(value)
        case "name": return record.name.contains(value)
        case "status": return container.state.status.rawValue == value
        case "exited": return container.state.status == .exited && "\(container.state.exitCode)" == value
        case "ancestor":
            return record.imageReference == value || record.image == value
                || record.image.dropFirst(7).hasPrefix(value)
        default:
            let label = value.split(separator: "=", maxSplits: 1).map(String.init)
            return try container.labels.contains {
                $0.name == label[0] && (label.count == 1 || $0.value == label[1])
            }
        }
    }
}
