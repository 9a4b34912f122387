// SPDX-License-Identifier: Apache-2.0

import JSON
import LinuxSys
package import Storage
import StoreRoot
import Synchronization

/// A container as its row says.
package struct ContainerRecord: Sendable {
    /// What the row remembers; whether a process runs is asked of the run directory (`ContainerState`).
    package enum Status: String, Sendable {
        case created
        case running
        case exited
        case dead
    }

    package let id: String
    package var name: String
    /// The image's id.
    package var image: String
    package var imageReference: String
    package var driver: String
    package var layer: LayerID
    /// Nanoseconds since 1970, as all times of a row.
    package var created: Int64
    package var status: Status
    /// Of the last run.
    package var exitCode: Int32?
    package var error: String?
    package var started: Int64?
    package var finished: Int64?
    /// Program and arguments, for listings.
    package var command: String
    private let storedConfig: StoredConfig

    /// Parsed when it is first asked for: a listing of many containers does not.
    var config: ContainerConfig {
        get throws {
            do {
                return try storedConfig.value()
            } catch {
                throw StorageError(
                    .corrupt,
                    "read container \(name): its stored configuration is damaged (\(error))",
                    remedy: "keep its files with strata export \(name), then strata rm -f \(name)"
                )
            }
        }
    }

    init(
        id: String,
        name: String,
        image: String,
        imageReference: String,
        driver: String,
        layer: LayerID,
        created: Int64,
        status: Status,
        started: Int64? = nil,
        config: ContainerConfig
    ) {
        self.id = id
        self.name = name
        self.image = image
        self.imageReference = imageReference
        self.driver = driver
        self.layer = layer
        self.created = created
        self.status = status
        self.started = started
        command = Self.commandLine(config.arguments)
        storedConfig = StoredConfig(config)
    }

    /// As Docker shows it: arguments with spaces in quotes.
    private static func commandLine(_ arguments: [String]) -> String {
        var line = ""
        for (index, argument) in arguments.enumerated() {
            if index > 0 { line += " " }
            let isQuoted = index > 0 && argument.utf8.contains(UInt8(ascii: " "))
            line += isQuoted ? "'\(argument)'" : argument
        }
        return line
    }

    package var shortID: String { String(Substring(id.utf8.prefix(12))) }
}

/// A container's configuration as its row holds it.
private final class StoredConfig: Sendable {
    private enum Form {
        /// In the row with this id, not read yet.
        case row(Database, id: String)
        case text([UInt8])
        /// Indirect, since a listing makes thousands that are never parsed, and a configuration is large.
        indirect case parsed(ContainerConfig)
    }

    private let form: Mutex<Form>

    /// Reads the row when it is first asked for.
    init(of id: String, in database: Database) { form = Mutex(.row(database, id: id)) }

    init(_ text: [UInt8]) { form = Mutex(.text(text)) }

    init(_ config: ContainerConfig) { form = Mutex(.parsed(config)) }

    func value() throws -> ContainerConfig {
        try form.withLock { form in
            let text: [UInt8]
            switch form {
            case .parsed(let config): return config
            case .text(let read): text = read
            case .row(let database, let id): text = try Self.text(of: id, in: database)
            }
            let json = try JSON.parse(text)
            for part in ["Config", "HostConfig"] where json[part]?.object == nil {
                throw EngineError(.failed, "it has no \(part)")
            }
            let config = try ContainerConfig(json: json)
            form = .parsed(config)
            return config
        }
    }

    private static func text(of id: String, in database: Database) throws -> [UInt8] {
        let text = try database.first("SELECT config FROM containers WHERE id = ?", [.text(id)]) {
            $0.blob(0)
        }
        guard let text else { throw EngineError(.notFound, "No such container: \(id)") }
        return text
    }
}

/// The rows of containers.
struct ContainerTable {
    let root: StoreRoot

    /// All but the configuration, which is long and comes last.
    private static let briefColumns =
        "id, name, image, image_reference, driver, layer, created, status, exit_code, error, started, finished, command"
    private static let columns = briefColumns + ", config"

    /// Containers, the newest first.
    ///
    /// - Parameter onlyRunning: those whose row says so; whether they do is another question (`Engine.state`).
    func all(onlyRunning: Bool = false) throws -> [ContainerRecord] {
        try all(onlyRunning: onlyRunning) { $0 }
    }

    /// What is made of each container, the newest first.
    func all<T>(onlyRunning: Bool = false, _ make: (consuming ContainerRecord) throws -> T) throws -> [T] {
        // A thousand configurations are long to read, and most listings do without. Sorted here, since SQLite's sorter takes
        // a copy of each row, and they lie as they were made.
        let database = root.database
        let made = try database.query(
            "SELECT \(Self.briefColumns) FROM containers \(onlyRunning ? "WHERE status = 'running'" : "")"
        ) { row in
            let record = try Self.record(row, StoredConfig(of: row.text(0), in: database))
            let created = record.created
            return (created: created, made: try make(record))
        }
        return made.sorted { $0.created > $1.created }.map(\.made)
    }

    /// The ids of those whose row says that they run: every writing command asks.
    func running() throws -> [String] {
        try root.database.query("SELECT id FROM containers WHERE status = 'running'") { $0.text(0) }
    }

    /// How the last run ended; `nil` if it has not, or the container is gone.
    func exitCode(of id: String) throws -> Int32? {
        try root.database.first("SELECT exit_code FROM containers WHERE id = ?1", [.text(id)]) { row in
            row.optionalInteger(0).map { Int32(truncatingIfNeeded: $0) }
        }.flatMap(\.self)
    }

    func isThere(_ id: String) throws -> Bool {
        try root.database.first("SELECT 1 FROM containers WHERE id = ?", [.text(id)]) { _ in true } ?? false
    }

    /// The container with this id, this name, or the only one whose id begins so.
    func find(_ text: String) throws -> ContainerRecord {
        let name = text.hasPrefix("/") ? String(text.dropFirst()) : text
        let exact = try root.database.query(
            "SELECT \(Self.columns) FROM containers WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1",
            [.text(name)],
            row: Self.record
        )
        if let found = exact.first { return found }
        let isPrefix = !name.isEmpty && name.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        let matches =
            isPrefix
            ? try root.database.query(
                "SELECT \(Self.columns) FROM containers WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2",
                [.text(name)],
                row: Self.record
            ) : []
        if matches.count > 1 {
            throw EngineError(
                .notFound,
                "multiple containers have an id that begins with \(name): give more of it"
            )
        }
        guard let found = matches.first else { throw EngineError(.notFound, "No such container: \(text)") }
        return found
    }

    /// Containers that were made from the image with this id.
    func using(image: String) throws -> [ContainerRecord] {
        try root.database.query(
            "SELECT \(Self.columns) FROM containers WHERE image = ?1",
            [.text(image)],
            row: Self.record
        )
    }

    func insert(_ record: ContainerRecord, in transaction: Transaction) throws {
        let inserted = try transaction.run(
            """
            INSERT INTO containers (id, name, image, image_reference, driver, layer, created, status, started, config,
            auto_remove, command) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            ON CONFLICT (name) DO NOTHING
            """,
            [
                .text(record.id), .text(record.name), .text(record.image), .text(record.imageReference),
                .text(record.driver), .text(record.layer.rawValue), .integer(record.created),
                .text(record.status.rawValue), .optional(record.started), .text(try record.config.json.text),
                .flag(try record.config.removeWhenDone), .text(record.command),
            ]
        )
        if inserted == 1 { return }
        let taken = try transaction.first("SELECT id FROM containers WHERE name = ?1", [.text(record.name)]) {
            $0.text(0)
        }
        throw EngineError(
            .conflict,
            "Conflict. The container name \"/\(record.name)\" is already in use by container \"\(taken ?? "")\"."
                + " Remove or rename that container, or choose another name."
        )
    }

    /// Says that the container is being started; its exit state of before is forgotten.
    func markRunning(_ id: String, started: Int64) throws {
        try root.database.transaction(durable: false) { transaction in
            _ = try transaction.run(
                "UPDATE containers SET status = 'running', started = ?2, finished = NULL, exit_code = NULL, error = NULL WHERE id = ?1",
                [.text(id), .integer(started)]
            )
        }
    }

    /// - Parameter freesSpace: whether it is done to remove the container. What the store keeps back is for that alone: one that
    ///   fills the disk again and again would have it all.
    func markExited(
        _ id: String,
        exitCode: Int32,
        error: String?,
        finished: Int64,
        freesSpace: Bool
    ) throws {
        try root.database.transaction(durable: false, freesSpace: freesSpace) { transaction in
            _ = try transaction.run(
                "UPDATE containers SET status = 'exited', exit_code = ?2, error = ?3, finished = ?4 WHERE id = ?1",
                [.text(id), .integer(Int64(exitCode)), .optional(error), .integer(finished)]
            )
        }
    }

    /// A start that failed: the container is what it was, with the reason.
    ///
    /// - Parameter before: the container as it was; one that has never ended has never run either.
    func markUnstarted(_ before: ContainerRecord, exitCode: Int32, error: String) throws {
        let hasRun = before.finished != nil
        // Nothing else tells why, on a full disk either.
        try root.database.transaction(durable: false, freesSpace: true) { transaction in
            _ = try transaction.run(
                "UPDATE containers SET status = ?2, started = ?3, finished = ?4, exit_code = ?5, error = ?6 WHERE id = ?1",
                [
                    .text(before.id), .text((hasRun ? ContainerRecord.Status.exited : .created).rawValue),
                    .optional(hasRun ? before.started : nil), .optional(before.finished),
                    .integer(Int64(exitCode)), .text(error),
                ]
            )
        }
    }

    private static func record(_ row: Row) throws -> ContainerRecord {
        try record(row, StoredConfig(row.blob(13)))
    }

    private static func record(_ row: Row, _ config: StoredConfig) throws -> ContainerRecord {
        guard let layer = LayerID(row.text(5)), let status = ContainerRecord.Status(rawValue: row.text(7))
        else {
            throw StorageError(
                .corrupt,
                "read container \(row.text(0)): its row names layer '\(row.text(5))' and status '\(row.text(7))'",
                remedy: "run strata system check"
            )
        }
        return ContainerRecord(row, layer: layer, status: status, config)
    }
}

extension ContainerRecord {
    /// From a row of `ContainerTable.briefColumns`.
    fileprivate init(_ row: Row, layer: LayerID, status: Status, _ config: StoredConfig) {
        id = row.text(0)
        name = row.text(1)
        image = row.text(2)
        imageReference = row.text(3)
        driver = row.text(4)
        self.layer = layer
        created = row.integer(6)
        self.status = status
        exitCode = row.optionalInteger(8).map { Int32(truncatingIfNeeded: $0) }
        error = row.optionalText(9)
        started = row.optionalInteger(10)
        finished = row.optionalInteger(11)
        command = row.text(12)
        storedConfig = config
    }
}
