// SPDX-License-Identifier: Apache-2.0

package import JSON
import Storage

/// How a container of the image runs.
extension ImageConfig {
    /// `nil` where the image says nothing.
    package var entrypoint: [String]? { list("Entrypoint") }
    package var command: [String]? { list("Cmd") }
    package var shell: [String]? { list("Shell") }
    package var environment: [String] { list("Env") ?? [] }
    package var onBuild: [String] { list("OnBuild") ?? [] }
    /// Empty for the image's default, root.
    package var user: String { process["User"]?.string ?? "" }
    package var workingDirectory: String { process["WorkingDir"]?.string ?? "" }
    package var stopSignal: String? { process["StopSignal"]?.string.flatMap { $0.isEmpty ? nil : $0 } }
    /// Seconds.
    package var stopTimeout: Int? { process["StopTimeout"]?.int }
    package var healthcheck: JSON? { process["Healthcheck"].flatMap { $0.isNull ? nil : $0 } }
    /// `80/tcp`, in the image's order.
    package var exposedPorts: [String] { process["ExposedPorts"]?.object?.keys ?? [] }
    package var volumes: [String] { process["Volumes"]?.object?.keys ?? [] }

    package var labels: [(key: String, value: String)] {
        (process["Labels"]?.object ?? JSONObject()).map { ($0.key, $0.value.string ?? "") }
    }

    private func list(_ name: String) -> [String]? { process[name]?.strings }

    /// What a later reader relies on, so that a wrong type is refused when the image comes in and not when it
    /// runs.
    static func check(_ json: JSONObject, label: String) throws(StorageError) {
        for name in ["created", "author", "comment", "variant"] {
            guard json[name].map({ $0.string != nil || $0.isNull }) ?? true else {
                throw wrong(name, "string", label)
            }
        }
        guard json["history"].map({ $0.array != nil || $0.isNull }) ?? true else {
            throw wrong("history", "list", label)
        }
        guard let process = json["config"], !process.isNull else { return }
        guard process.object != nil else { throw wrong("config", "object", label) }
        for name in ["Entrypoint", "Cmd", "Env", "OnBuild", "Shell"] {
            guard process[name].map({ $0.strings != nil || $0.isNull }) ?? true else {
                throw wrong("config.\(name)", "list of strings", label)
            }
        }
        for name in ["User", "WorkingDir", "StopSignal"] {
            guard process[name].map({ $0.string != nil || $0.isNull }) ?? true else {
                throw wrong("config.\(name)", "string", label)
            }
        }
        for name in ["ExposedPorts", "Volumes", "Labels"] {
            guard process[name].map({ $0.object != nil || $0.isNull }) ?? true else {
                throw wrong("config.\(name)", "object", label)
            }
        }
        for member in process["Labels"]?.object ?? JSONObject() where member.value.string == nil {
            throw wrong("config.Labels", "object of strings", label)
        }
        // A NUL would end an argument or a path early when it reaches the kernel.
        let texts =
            ["Entrypoint", "Cmd", "Env"].flatMap { process[$0]?.strings ?? [] }
            + ["User", "WorkingDir"].compactMap { process[$0]?.string }
            + (process["Volumes"]?.object?.keys ?? [])
        guard !texts.contains(where: { $0.utf8.contains(0) }) else {
            throw StorageError(.invalid, "\(label): a string in config contains a NUL byte")
        }
    }

    private static func wrong(_ name: String, _ wanted: String, _ label: String) -> StorageError {
        StorageError(.invalid, "\(label): \(name) is not a \(wanted)")
    }
}
