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
        let columns =
            ["ID", "Image", "Command", "CreatedSince", "Status", "Names", "Driver"]
            + (parsed.flag("size") ? ["Size"] : [])
        var sizes: [String: String] = [:]
        if parsed.flag("size") {
            // Who was removed meanwhile is not shown.
            shown = try shown.filter {
                sizes[$0.record.id] = try size(of: $0.record, in: engine)
                return sizes[$0.record.id] != nil
            }
        }
        let fields = Fields(
            engine: engine,
            now: .now,
            images: ImageNames(engine),
            isFull: parsed.flag("no-trunc"),
            sizes: sizes
        )
        Console.output.write(
            try listing.text(
                shown,
                format: parsed.string("format"),
                quiet: parsed.flag("quiet"),
                shown: columns,
                field: { name in
                    let text = fields.text(name)
                    return { .string(try text($0)) }
                }
            )
        )
        return 0
    }

    private static func size(of record: ContainerRecord, in engine: Engine) throws -> String? {
        do {
            let (own, total) = try engine.sizes(of: record)
            return "\(Human.size(own)) (virtual \(Human.size(total)))"
        } catch let error as EngineError where error.code == .notFound {
            return nil
        } catch {
            // One that cannot be measured hides no other.
            engine.options.warn("measure container \(record.shortID): \(error)")
            return "unknown"
        }
    }

    /// What the fields of a container's row say.
    private struct Fields {
        let engine: Engine
        let now: Timestamp
        let images: ImageNames
        /// Nothing is cut off.
        let isFull: Bool
        /// By container, where they are asked for.
        let sizes: [String: String]

        /// What gives the text of the field with this name.
        func text(_ name: String) -> (ContainerSummary) throws -> String {
            switch name {
            case "ID": { isFull ? $0.record.id : $0.record.shortID }
            case "Names": { $0.record.name }
            case "Image": { try images.name($0.record.imageReference, of: $0.record.image) }
            case "Command": { command($0.command) }
            case "CreatedAt": { Human.date(Timestamp(nanosecondsSince1970: $0.record.created).rfc3339) }
            case "CreatedSince", "RunningFor":
                {
                    Human.ago(
                        seconds: now.seconds - Timestamp(nanosecondsSince1970: $0.record.created).seconds
                    )
                }
            case "State": { $0.state.status.rawValue }
            case "Status": { status($0.state, now: now) }
            case "Size": { sizes[$0.record.id] ?? "" }
            case "Driver": { $0.record.driver }
            case "Labels": { try $0.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ",") }
            case "Mounts": { try $0.mounts.joined(separator: ",") }
            case "Networks": { try $0.network }
            case "LocalVolumes": { _ in "0" }
            default: { _ in "" }
            }
        }

        private func command(_ text: String) -> String {
            quoted(isFull || text.utf8.count <= 20 || text.count <= 20 ? text : "\(text.prefix(19))…")
        }
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
