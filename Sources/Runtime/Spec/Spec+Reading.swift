// SPDX-License-Identifier: Apache-2.0

package import JSON
import Launch

extension Spec {
    /// Reads config.json.
    ///
    /// A field of the wrong type is refused, naming it.
    package init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "config.json")
        rest = fields.object
        ociVersion = try fields.string("ociVersion") ?? ociVersion
        if let value = fields["process"] { process = try Process(value) }
        if let value = try fields.fields("root") {
            root.rest = value.object
            root.path = try value.string("path") ?? root.path
            root.readonly = try value.bool("readonly") ?? false
        }
        hostname = try fields.string("hostname")
        domainname = try fields.string("domainname")
        for value in try fields.array("mounts") { mounts.append(try Mount(value)) }
        annotations = try fields.texts("annotations")
        if let value = fields["linux"] { linux = try Linux(value) }
    }
}

extension Spec.Mount {
    init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "mounts")
        guard let destination = try fields.string("destination") else { throw fields.missing("destination") }
        self.init(
            destination: destination,
            type: try fields.string("type"),
            source: try fields.string("source"),
            options: try fields.strings("options")
        )
        rest = fields.object
    }
}

extension Spec.Process {
    /// Reads a `process` object (also what `exec --process FILE` takes).
    package init(_ json: JSON) throws(RuntimeError) {
        let fields = try SpecFields(json, "process")
        self.init()
        rest = fields.object
        terminal = try fields.bool("terminal") ?? false
        if let size = try fields.fields("consoleSize") {
            consoleSize = Spec.ConsoleSize(
                rows: UInt16(clamping: try size.integer("height") ?? 0),
                columns: UInt16(clamping: try size.integer("width") ?? 0)
            )
        }
        if let value = try fields.fields("user") {
            user.rest = value.object
            user.uid = try value.id("uid") ?? 0
            user.gid = try value.id("gid") ?? 0
            user.umask = try value.id("umask")
            for group in try value.array("additionalGids") {
                guard let number = group.uint32 else { throw value.wrong("additionalGids", "ids") }
                user.additionalGids.append(number)
            }
        }
        args = try fields.strings("args")
        env = try fields.strings("env")
        cwd = try fields.string("cwd") ?? "/"
        if let value = try fields.fields("capabilities") { capabilities = try Spec.CapabilitySets(value) }
        for value in try fields.array("rlimits") {
            let limit = try SpecFields(value, "process.rlimits")
            guard let type = try limit.string("type"), let soft = limit["soft"]?.uint64,
                let hard = limit["hard"]?.uint64
            else { throw limit.missing("type, soft or hard") }
            rlimits.append(Spec.ResourceLimit(type: type, soft: soft, hard: hard))
        }
        noNewPrivileges = try fields.bool("noNewPrivileges") ?? false
        oomScoreAdj = try fields.integer("oomScoreAdj").map { Int($0) }
    }
}

extension Spec.CapabilitySets {
    init(_ fields: SpecFields) throws(RuntimeError) {
        self.init([])
        bounding = try Self.set(fields, "bounding")
        effective = try Self.set(fields, "effective")
        permitted = try Self.set(fields, "permitted")
        inheritable = try Self.set(fields, "inheritable")
        ambient = try Self.set(fields, "ambient")
    }

    /// Unknown names are left out, as the specification asks.
    private static func set(_ fields: SpecFields, _ key: String) throws(RuntimeError) -> CapabilitySet {
        var set: CapabilitySet = []
        for name in try fields.strings(key) { set.formUnion(CapabilitySet(name: name) ?? []) }
        return set
    }
}
