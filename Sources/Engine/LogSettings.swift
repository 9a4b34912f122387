// SPDX-License-Identifier: Apache-2.0

import JSON

/// `--log-driver` and `--log-opt`: what becomes of a container's output beside those who are attached.
struct LogSettings: Hashable, Sendable {
    /// `json-file` or `none`.
    var driver = "json-file"
    /// As the user gave them.
    var options: [String: String] = [:]
    /// Bytes at which the file is set aside; `nil`: never.
    private(set) var maximumSize: Int64?
    /// Files kept, the one being written among them.
    private(set) var maximumFiles = 1

    var isKept: Bool { driver != "none" }

    /// - Parameter options: `NAME=VALUE` each.
    init(driver: String?, options: [String]) throws {
        var pairs: [String: String] = [:]
        for text in options {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw EngineError(.usage, "invalid logging opt: '\(text)': write NAME=VALUE, as max-size=10m")
            }
            pairs[parts[0]] = parts[1]
        }
        try self.init(driver.flatMap { $0.isEmpty ? nil : $0 } ?? "json-file", pairs)
    }

    private init(_ driver: String, _ options: [String: String]) throws {
        guard ["json-file", "none"].contains(driver) else {
            throw EngineError(
                .usage,
                "logger: no log driver named '\(driver)' is registered: json-file or none"
            )
        }
        self.driver = driver
        self.options = options
        if options.isEmpty { return }
        for (name, value) in options.sorted(by: { $0.key < $1.key }) {
            switch (driver, name) {
            case ("json-file", "max-size"): maximumSize = try Self.size(value)
            case ("json-file", "max-file"):
                guard let count = Int(value), count >= 1 else {
                    throw EngineError(
                        .usage,
                        "invalid log opt max-file=\(value): a number of files, at least 1"
                    )
                }
                maximumFiles = count
            default:
                throw EngineError(
                    .usage,
                    "unknown log opt '\(name)' for \(driver) log driver: json-file has max-size and max-file"
                )
            }
        }
        if maximumFiles > 1, maximumSize == nil {
            throw EngineError(.usage, "invalid log opt max-file=\(maximumFiles): it needs max-size beside it")
        }
    }

    /// A size in Docker's units for logs, which are powers of 1000: `500`, `10k`, `1.5m`, `1gb`.
    private static func size(_ text: String) throws -> Int64 {
        let number = text.prefix { $0.isNumber || $0 == "." }
        let unit = text.dropFirst(number.count).lowercased()
        let powers: [String: Double] = ["": 1, "b": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12]
        let factor = powers[unit] ?? (unit.hasSuffix("b") ? powers[String(unit.dropLast())] : nil)
        guard let factor, let count = Double(number), case let bytes = count * factor, bytes >= 1,
            bytes < 1e18
        else {
            throw EngineError(.usage, "invalid log opt max-size=\(text): a size, as 500k, 10m or 1g")
        }
        return Int64(bytes)
    }
}

extension LogSettings {
    /// Docker's `HostConfig.LogConfig`.
    var json: JSON {
        var config = JSONObject()
        for (name, value) in options.sorted(by: { $0.key < $1.key }) { config[name] = .string(value) }
        return ["Type": .string(driver), "Config": .object(config)]
    }

    /// Reads what `json` wrote; what is missing takes its default.
    init(json: JSON?) throws {
        var pairs: [String: String] = [:]
        for member in json?["Config"]?.object ?? JSONObject() {
            pairs[member.key] = member.value.string ?? ""
        }
        try self.init(json?["Type"]?.string ?? "json-file", pairs)
    }

    init() {}
}
