// SPDX-License-Identifier: Apache-2.0

package import JSON

extension SeccompProfile {
    /// Reads the `linux.seccomp` object, or a file as Docker takes it: there, rules may hold for some capabilities or
    /// architectures only, and those that do not hold are left out.
    package init(_ json: JSON, capabilities: CapabilitySet = .all) throws(RuntimeError) {
        let fields = try SpecFields(json, "seccomp")
        guard let name = try fields.string("defaultAction") else { throw fields.missing("defaultAction") }
        self.init(defaultAction: try SeccompAction(name: name, errno: try fields.natural("defaultErrnoRet")))
        architectures = try fields.strings("architectures")
        flags = try fields.strings("flags")
        for value in try fields.array("syscalls") {
            let rule = try SpecFields(value, "seccomp.syscalls")
            let conditions = try (rule.fields("includes"), rule.fields("excludes"))
            if let includes = conditions.0, try !Self.holds(includes, capabilities, all: true) { continue }
            if let excludes = conditions.1, try Self.holds(excludes, capabilities, all: false) { continue }
            rules.append(try SeccompRule(rule))
        }
    }

    /// Whether all conditions hold, or any.
    private static func holds(
        _ conditions: SpecFields,
        _ capabilities: CapabilitySet,
        all: Bool
    ) throws(RuntimeError) -> Bool {
        var answers: [Bool] = []
        for name in try conditions.strings("caps") {
            answers.append(CapabilitySet(name: name).map { capabilities.isSuperset(of: $0) } ?? false)
        }
        let architectures = try conditions.strings("arches")
        if !architectures.isEmpty { answers.append(architectures.contains(Self.nativeName)) }
        return all ? !answers.contains(false) : answers.contains(true)
    }

    #if arch(x86_64)
    private static let nativeName = "amd64"
    #else
    private static let nativeName = "arm64"
    #endif

    package var json: JSON {
        var object: JSONObject = ["defaultAction": .string(defaultAction.name)]
        object["defaultErrnoRet"] = defaultAction.code.map { .integer($0) }
        object["architectures"] = architectures.isEmpty ? nil : .strings(architectures)
        object["flags"] = flags.isEmpty ? nil : .strings(flags)
        object["syscalls"] = .array(rules.map(\.json))
        return .object(object)
    }
}

extension SeccompRule {
    fileprivate init(_ fields: SpecFields) throws(RuntimeError) {
        // Old files have one `name`.
        var names = try fields.strings("names")
        if let name = try fields.string("name") { names.append(name) }
        guard let action = try fields.string("action") else { throw fields.missing("action") }
        self.init(names, try SeccompAction(name: action, errno: try fields.natural("errnoRet")))
        for value in try fields.array("args") {
            let compare = try SpecFields(value, "seccomp.syscalls.args")
            let text = try compare.string("op")
            guard let operation = SeccompCompare.Operation.allCases.first(where: { $0.name == text }) else {
                throw compare.wrong("op", "a comparison (SCMP_CMP_…)")
            }
            guard let index = try compare.id("index"), index < 6 else {
                throw compare.wrong("index", "0 to 5")
            }
            compares.append(
                SeccompCompare(
                    index,
                    operation,
                    try compare.natural("value") ?? 0,
                    try compare.natural("valueTwo") ?? 0
                )
            )
        }
    }

    fileprivate var json: JSON {
        var object: JSONObject = ["names": .strings(names), "action": .string(action.name)]
        object["errnoRet"] = action.code.map { .integer($0) }
        if !compares.isEmpty {
            object["args"] = .array(
                compares.map {
                    [
                        "index": .integer($0.index), "value": .integer($0.value),
                        "valueTwo": .integer($0.second),
                        "op": .string($0.operation.name),
                    ]
                }
            )
        }
        return .object(object)
    }
}
