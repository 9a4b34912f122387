// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import StoreRoot

/// The rows of one image, before they are written.
struct ImageRecord {
    let id: Digest
    let manifest: Digest?
    let parent: Digest?
    let config: ImageConfig
    let configBytes: [UInt8]
    /// Base first.
    let layers: [(blob: Digest?, size: Int64?)]

    /// Writes the rows.
    ///
    /// An image that is there already takes the manifest and blobs that came last, if it came with any.
    func insert(in transaction: Transaction) throws {
        let created = config.created ?? Timestamp(seconds: 0)
        let size = layers.reduce(Int64(0)) { sum, layer in
            let (total, overflow) = sum.addingReportingOverflow(layer.size ?? 0)
            return overflow ? .max : total
        }
        try transaction.run(
            """
            INSERT INTO images (id, manifest_digest, parent, created, added, size, config) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET manifest_digest = coalesce(excluded.manifest_digest, manifest_digest),
                size = max(size, excluded.size)
            """,
            [
                .text("\(id)"), .optional(manifest?.description), .optional(parent?.description),
                .integer(created.wholeNanoseconds), .integer(Timestamp.now.wholeNanoseconds), .integer(size),
                .blob(configBytes),
            ]
        )
        for (position, (chainID, layer)) in zip(config.chainIDs, layers).enumerated() {
            try transaction.run(
                """
                INSERT INTO image_layers (image, position, diff_id, chain_id, blob, size) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (image, position) DO UPDATE
                SET blob = coalesce(excluded.blob, blob), size = coalesce(excluded.size, size)
                """,
                [
                    .text("\(id)"), .integer(Int64(position)), .text("\(config.diffIDs[position])"),
                    .text("\(chainID)"),
                    .optional(layer.blob?.description), .optional(layer.size),
                ]
            )
        }
    }
}

extension ImageStore {
    /// Bytes of a layer's tar, if an image that has it says so.
    func knownSize(of diffID: Digest) throws -> Int64? {
        try database.first(
            "SELECT max(size) FROM image_layers WHERE diff_id = ?",
            [.text("\(diffID)")]
        ) { $0.optionalInteger(0) }.flatMap(\.self)
    }
}
