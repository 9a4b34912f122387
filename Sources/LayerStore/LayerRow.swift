// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
package import LinuxSys
package import Storage
package import StoreRoot

/// A layer as the rows know it.
package struct LayerRow: Hashable, Sendable {
    package enum Kind: String, Sendable {
        /// A layer of an image, keyed by its chain id.
        case image
        /// Empty mount points over an image, shared by its containers.
        case `init`
        /// A container's writable layer.
        case container
        /// Made by `strata layer`.
        case plain
    }

    package var id: LayerID
    package var driver: String
    package var parent: LayerID?
    package var kind: Kind
    /// Of image layers.
    package var chainID: Digest?
    /// Digest of the layer's tar, where it is known.
    package var diffID: Digest?
    package var isSealed: Bool
    package var created: Timestamp
    /// Bytes of its files; 0 while it is writable.
    package var size: Int64
    /// Digest of the tar of `changes`, as this store writes it; known for what was made here or has been checked.
    package var content: Digest?

    init(
        id: LayerID,
        driver: String,
        parent: LayerID?,
        kind: Kind,
        chainID: Digest? = nil,
        diffID: Digest? = nil,
        isSealed: Bool = true,
        size: Int64 = 0,
        content: Digest? = nil
    ) {
        self.id = id
        self.driver = driver
        self.parent = parent
        self.kind = kind
        self.chainID = chainID
        self.diffID = diffID
        self.isSealed = isSealed
        created = .now
        self.size = size
        self.content = content
    }
}

extension LayerRow {
    static let columns = "id, driver, parent, kind, chain_id, diff_id, sealed, created, size, content"

    init(_ row: Row) throws {
        guard let id = LayerID(row.text(0)), let kind = Kind(rawValue: row.text(3)) else {
            throw StorageError(
                .corrupt,
                "read the row of layer \(row.text(0)) (\(row.text(3))): not a layer's row"
            )
        }
        self.id = id
        driver = row.text(1)
        parent = row.optionalText(2).flatMap { LayerID($0) }
        self.kind = kind
        chainID = row.optionalText(4).flatMap { Digest($0) }
        diffID = row.optionalText(5).flatMap { Digest($0) }
        isSealed = row.flag(6)
        created = Timestamp(nanosecondsSince1970: row.integer(7))
        size = row.integer(8)
        content = row.optionalText(9).flatMap { Digest($0) }
    }

    func insert(in transaction: Transaction) throws {
        try transaction.run(
            "INSERT INTO layers (\(Self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                .text(id.rawValue), .text(driver), .optional(parent?.rawValue), .text(kind.rawValue),
                .optional(chainID?.description), .optional(diffID?.description), .flag(isSealed),
                .integer(created.nanosecondsSince1970), .integer(size), .optional(content?.description),
            ]
        )
    }
}

extension Timestamp {
    package init(nanosecondsSince1970 total: Int64) {
        let (seconds, rest) = total.quotientAndRemainder(dividingBy: 1_000_000_000)
        let borrow: Int64 = rest < 0 ? 1 : 0
        self.init(seconds: seconds - borrow, nanoseconds: UInt32(rest + borrow * 1_000_000_000))
    }

    /// Clamped to what 64 bits hold: the years 1677 to 2262.
    package var nanosecondsSince1970: Int64 {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = product.addingReportingOverflow(Int64(nanoseconds))
        return overflow || carry ? (seconds < 0 ? .min : .max) : sum
    }
}

/// Whatever answers queries: the database, or a transaction that must see its own changes.
protocol RowReader {
    func query<T>(_ sql: String, _ values: [SQLValue], row: (Row) throws -> T) throws -> [T]
}

extension Database: RowReader {}
extension Transaction: RowReader {}

extension RowReader {
    func layer(_ id: LayerID) throws -> LayerRow? {
        try query(
            "SELECT \(LayerRow.columns) FROM layers WHERE id = ?",
            [.text(id.rawValue)],
            row: LayerRow.init
        ).first
    }

    func imageLayer(_ chainID: Digest, driver: String) throws -> LayerRow? {
        try query(
            "SELECT \(LayerRow.columns) FROM layers WHERE driver = ? AND chain_id = ? AND kind = 'image'",
            [.text(driver), .text(chainID.description)],
            row: LayerRow.init
        ).first
    }

    /// The shared layer of mount points over `top`.
    func initLayer(over top: LayerID?, driver: String) throws -> LayerID? {
        try query(
            "SELECT id FROM layers WHERE driver = ? AND coalesce(parent, '') = ? AND kind = 'init'",
            [.text(driver), .text(top?.rawValue ?? "")]
        ) { LayerID($0.text(0)) }.first.flatMap(\.self)
    }

    /// Whether there is such a layer.
    func hasLayer(_ id: LayerID) throws -> Bool {
        try !query("SELECT 1 FROM layers WHERE id = ?", [.text(id.rawValue)]) { _ in true }.isEmpty
    }

    /// The layers of an image as a driver has them, base first; `nil` where it does not have all, or not as one chain.
    func layers(ofImage image: Digest, driver: String) throws -> [(id: LayerID, isSealed: Bool)]? {
        var parent = ""
        let rows = try query(
            """
            SELECT layers.id, coalesce(parent, ''), sealed FROM image_layers
            LEFT JOIN layers ON driver = ?2 AND layers.chain_id = image_layers.chain_id AND kind = 'image'
            WHERE image = ?1 ORDER BY position
            """,
            [.text(image.description), .text(driver)]
        ) { row -> (id: LayerID, isSealed: Bool)? in
            guard let id = LayerID(row.text(0)), row.text(1) == parent else { return nil }
            parent = id.rawValue
            return (id, row.flag(2))
        }
        let found = rows.compactMap(\.self)
        return found.count == rows.count ? found : nil
    }

    /// The same image layer as other drivers have it.
    func copies(of chainID: Digest, except driver: String) throws -> [LayerRow] {
        try query(
            """
            SELECT \(LayerRow.columns) FROM layers
            WHERE chain_id = ? AND driver <> ? AND kind = 'image' AND sealed = 1 ORDER BY driver
            """,
            [.text(chainID.description), .text(driver)],
            row: LayerRow.init
        )
    }

    func layers() throws -> [LayerRow] {
        // Not by SQLite, whose sorter takes a copy of each row, and not by moving rows around, which is not cheap either.
        let rows = try query("SELECT \(LayerRow.columns) FROM layers", [], row: LayerRow.init)
        let order = rows.indices.sorted { one, other in
            rows[one].created == rows[other].created
                ? rows[one].id < rows[other].id : rows[one].created < rows[other].created
        }
        return order.map { rows[$0] }
    }

    func children(of id: LayerID) throws -> [LayerRow] {
        try query(
            "SELECT \(LayerRow.columns) FROM layers WHERE parent = ?",
            [.text(id.rawValue)],
            row: LayerRow.init
        )
    }

    /// `id` and all that it stands on, the base first, in one statement; empty if there is no such layer.
    func ancestry(of id: LayerID) throws -> [LayerRow] {
        try ancestry("id = ?", [.text(id.rawValue)], label: "\(id)")
    }

    /// The same for the image layer `chainID` of a driver.
    func ancestry(of chainID: Digest, driver: String) throws -> [LayerRow] {
        try ancestry(
            "driver = ? AND chain_id = ? AND kind = 'image'",
            [.text(driver), .text(chainID.description)],
            label: "\(chainID)"
        )
    }

    private func ancestry(_ start: String, _ values: [SQLValue], label: String) throws -> [LayerRow] {
        let rows = try query(
            """
            WITH RECURSIVE chain (member, depth) AS (
                SELECT id, 0 FROM layers WHERE \(start)
                UNION ALL
                SELECT layers.parent, chain.depth + 1 FROM chain JOIN layers ON layers.id = chain.member
                WHERE layers.parent IS NOT NULL AND chain.depth < 10000
            )
            SELECT \(LayerRow.columns) FROM chain LEFT JOIN layers ON layers.id = chain.member
            ORDER BY chain.depth DESC
            """,
            values
        ) { row in row.isNull(0) ? nil : try LayerRow(row) }
        if let first = rows.first, first == nil, rows.count > 1 {
            throw StorageError(
                .corrupt,
                "read the layers below \(label): one is missing from the rows",
                remedy: "strata system check --repair"
            )
        }
        return rows.compactMap(\.self)
    }
}
