// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Format
import JSON
import LayerStore
import LinuxSys
import Storage

enum PsVerb: Verb {
    static let declaration = VerbDeclaration(
        "List containers",
        flags: [
            Flag("all", "a", .bool, "Show all containers (default shows just running)"),
            Flag("filter", "f", .list, "Filter output based on conditions provided", valueName: "filter"),
            SharedFlags.listFormat,
            Flag("last", "n", .int, "Show n last created containers (includes all states)"),
            Flag("latest", "l", .bool, "Show the latest created container (includes all states)"),
            SharedFlags.noTrunc,
            Flag("quiet", "q", .bool, "Only display container IDs"),
            Flag("size", "s", .bool, "Display total file sizes"),
        ],
        examples: [
            .init("strata ps -a", "List all containers, stopped ones too"),
            .init("strata ps --format '{{.Names}}: {{.Status}}'", "Choose what is shown"),
        ],
        section: .common
    )

    static func run(_ parsed: Parsed) throws -> Int32 {
        let engine = try parsed.engine(.read)
        let filter = try ContainerFilter(parsed.list("filter"))
        let last = parsed.flag("latest") ? 1 : parsed.int("last").map { Int(clamping: $0) }
        let all = parsed.flag("all") || last != nil || filter.wantsAll
        var shown = try filter.matching(engine.list(all: all), in: engine)
        if let last, last >= 0 { shown = Array(shown.prefix(last)) }
        if parsed.flag("quiet"), parsed.string("format") == nil {
            let full = parsed.flag("no-trunc")
            Console.output.write(shown.map { (full ? $0.record.id : $0.record.shortID) + "\n" }.joined())
            return 0
        }
        let now = Timestamp.now
        let format = parsed.string("format")
        let isFull = parsed.flag("no-trunc")
        var rows = try shown.map {
            try row($0, now: now, full: isFull, size: parsed.flag("size"), engine: engine)
        }
        // What costs a look into each configuration is added only where a template may ask for it.
        if let format, format != "table" {
            for index in rows.indices { try addDetails(of: shown[index], to: &rows[index]) }
        }
        let columns =
            ["ID", "Image", "Command", "CreatedSince", "Status", "Names", "Driver"]
            + (parsed.flag("size") ? ["Size"] : [])
        Console.output.write(
            try listing.text(
                rows,
                format: parsed.string("format"),
                quiet: parsed.flag("quiet"),
                shown: columns
            )
        )
        return 0
    }

    private static func row(
        _ container: ContainerSummary,
        now: Timestamp,
        full: Bool,
        size: Bool,
        engine: Engine
    ) throws -> JSON {
        let record = container.record
        let created = Timestamp(nanosecondsSince1970: record.created)
        let command =
            full || container.command.count <= 20 ? container.command : container.command.prefix(19) + "…"
        var bytes = ""
        if size {
            let (own, total) = try engine.sizes(of: record)
            bytes = "\(Human.size(own)) (virtual \(Human.size(total)))"
        }
        return [
            "ID": .string(full ? record.id : record.shortID),
            "Names": .string(record.name),
            "Image": .string(record.imageReference),
            "Command": .string("\"\(command)\""),
            "CreatedAt": .string(Human.date(created.rfc3339)),
            "CreatedSince": .string(Human.ago(seconds: now.seconds - created.seconds)),
            "RunningFor": .string(Human.ago(seconds: now.seconds - created.seconds)),
            "State": .string(container.state.status.rawValue),
            "Status": .string(status(container.state, now: now)),
            "Size": .string(bytes),
            "Driver": .string(record.driver),
            "Ports": "",
            "LocalVolumes": "0",
        ]
    }

    private static func addDetails(of container: ContainerSummary, to row: inout JSON) throws {
        guard var object = row.object else { return }
        object["Labels"] = .string(
            try container.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
        )
        object["Mounts"] = .string(try container.mounts.joined(separator: ","))
        object["Networks"] = .string(try container.network)
        row = .object(object)
    }

    /// Docker's words: `Up 5 minutes (Paused)`, `Exited (0) 2 hours ago`.
    private static func status(_ state: ContainerState, now: Timestamp) -> String {
        func since(_ time: Timestamp?) -> Int64 { now.seconds - (time ?? now).seconds }
        return switch state.status {
        case .created: "Created"
        case .running: "Up \(Human.duration(seconds: since(state.started)))"
        case .paused: "Up \(Human.duration(seconds: since(state.started))) (Paused)"
        case .exited: "Exited (\(state.exitCode)) \(Human.ago(seconds: since(state.finished)))"
        case .dead: "Dead"
        }
    }

    private static let listing = Listing(
        headers: [
            ("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Image", "IMAGE"), ("Command", "COMMAND"),
            ("CreatedAt", "CREATED AT"), ("CreatedSince", "CREATED"), ("RunningFor", "CREATED"),
            ("State", "STATE"),
            ("Status", "STATUS"), ("Size", "SIZE"), ("Labels", "LABELS"), ("Mounts", "MOUNTS"),
            ("Networks", "NETWORKS"), ("Ports", "PORTS"), ("Driver", "DRIVER"),
            ("LocalVolumes", "LOCAL VOLUMES"),
        ],
        shown: [],
        identity: "ID"
    )
}
