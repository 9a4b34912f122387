// SPDX-License-Identifier: Apache-2.0

import Engine
import Format
import JSON
import LayerDiff
import LayerStore
import LinuxSys
import Storage

/// Layers as listings and `layer inspect` show them.
enum LayerText {
    /// A field of a layer's row.
    static func field(_ name: String, of row: LayerRow, now: Timestamp, full: Bool) -> JSON {
        func digest(_ digest: Digest?) -> JSON {
            .string(digest.map { full ? "\($0)" : String($0.hex.prefix(12)) } ?? "")
        }
        return switch name {
        case "ID": .string(row.id.rawValue)
        case "Driver": .string(row.driver)
        case "Kind": .string(row.kind.rawValue)
        case "Parent": .string(row.parent?.rawValue ?? "")
        case "Sealed": .bool(row.isSealed)
        case "ChainID": digest(row.chainID)
        case "DiffID": digest(row.diffID)
        case "CreatedSince": .string(Human.ago(seconds: now.seconds - row.created.seconds))
        case "CreatedAt": .string(row.created.rfc3339)
        // Of a writable one it is not known without a look at all of it: `layer inspect`.
        case "Size": .string(row.isSealed ? Human.size(row.size) : "-")
        default: ""
        }
    }

    static func json(_ row: LayerRow, engine: Engine) throws -> JSON {
        let driver = try engine.layers.driver(row.driver)
        let usage = try driver.usage(row.id)
        let shared = try (driver as? any SharedUsageMeasuring)?.sharedBytes(row.id)
        return [
            "Id": .string(row.id.rawValue),
            "Driver": .string(row.driver),
            "Kind": .string(row.kind.rawValue),
            "Chain": .strings(try engine.layers.chain(row.id).ids.map(\.rawValue)),
            "Sealed": .bool(row.isSealed),
            "ChainId": row.chainID.map { .string("\($0)") } ?? .null,
            "DiffId": row.diffID.map { .string("\($0)") } ?? .null,
            "Created": .string(row.created.rfc3339),
            "Mountpoint": .string(try engine.mountPoint(of: row.id).map { "\($0)" } ?? ""),
            "Usage": [
                "Bytes": .integer(usage.bytes), "Inodes": .integer(usage.inodes),
                "SharedBytes": shared.map { .integer($0) } ?? .null,
            ],
        ]
    }

    static func usage(_ layer: LayerDiskUsage) -> JSON {
        [
            "ID": .string(layer.id.rawValue),
            "Driver": .string(layer.driver),
            "Kind": .string(layer.row?.kind.rawValue ?? "(no row)"),
            "Size": .string(Human.size(layer.usage.bytes)),
            "Inodes": .string("\(layer.usage.inodes)"),
            "Users": .string("\(layer.users)"),
        ]
    }
}
