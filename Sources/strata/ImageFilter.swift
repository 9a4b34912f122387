// SPDX-License-Identifier: Apache-2.0

import Engine
import Images

/// `images --filter` and the name after `images`.
struct ImageFilter {
    private var dangling: Bool?
    private var labels: [(name: String, value: String?)] = []
    private var patterns: [String] = []
    private var repository: Reference?

    init(_ filters: [String], repository: String?) throws {
        for filter in filters {
            let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw EngineError(.usage, "invalid filter '\(filter)': write NAME=VALUE")
            }
            switch parts[0] {
            case "dangling":
                guard let value = Bool(parts[1]) else {
                    throw EngineError(.usage, "invalid filter 'dangling=\(parts[1])': true or false")
                }
                dangling = value
            case "label":
                let label = parts[1].split(separator: "=", maxSplits: 1).map(String.init)
                labels.append((label[0], label.count == 2 ? label[1] : nil))
            case "reference": patterns.append(parts[1])
            default:
                throw EngineError(
                    .usage,
                    "invalid filter '\(parts[0])': dangling, label and reference are known"
                )
            }
        }
        if let repository, repository.contains(where: { "*?".contains($0) }) {
            patterns.append(repository)
        } else {
            self.repository = try repository.map { try Reference(parsing: $0) }
        }
    }

    func matches(_ line: ImageSummary) -> Bool {
        if let dangling, dangling != line.isNameless { return false }
        if let repository {
            guard let reference = line.reference, reference.repository == repository.repository else {
                return false
            }
            if let tag = repository.tag, tag != reference.tag { return false }
        }
        if !patterns.isEmpty {
            guard let reference = line.reference else { return false }
            let names = [reference.familiar, reference.familiarRepository]
            guard patterns.contains(where: { pattern in names.contains { Wildcard.matches(pattern, $0) } })
            else { return false }
        }
        if labels.isEmpty { return true }
        guard let config = try? ImageConfig(parsing: line.image.configBytes, label: "image") else {
            return false
        }
        return labels.allSatisfy { wanted in
            config.labels.contains {
                $0.key == wanted.name && (wanted.value == nil || wanted.value == $0.value)
            }
        }
    }
}

/// `*` and `?` in filters; neither stands for a slash.
enum Wildcard {
    static func matches(_ pattern: String, _ text: String) -> Bool {
        let pattern = Array(pattern.utf8)
        let text = Array(text.utf8)
        var p = 0
        var t = 0
        var star: (p: Int, t: Int)?
        let slash = UInt8(ascii: "/")
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, t)
                p += 1
            } else if p < pattern.count,
                pattern[p] == UInt8(ascii: "?") && text[t] != slash || pattern[p] == text[t]
            {
                p += 1
                t += 1
            } else if let last = star, text[last.t] != slash {
                star = (last.p, last.t + 1)
                p = last.p + 1
                t = last.t + 1
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
