// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
import LinuxSys
import Storage
import SystemPackage

private struct PreparedStatement {
    let sql: String
    let handle: OpaquePointer
}

/// One SQLite connection with its prepared statements.
///
/// Used by one thread at a time: `Database` sees to that.
final class Connection {
    private let handle: OpaquePointer
    private let label: String
    /// Prepared statements that are not in use; a command has a dozen or so, fewer than a dictionary pays for.
    private var idle: [PreparedStatement] = []
    private var isDurable: Bool?
    private let log: UnsafeMutablePointer<csqlite_wal>

    /// The WAL is carried over into the database whenever it has grown to this many pages.
    private static let checkpointPages: Int32 = 64

    private static let configured: Void = { _ = csqlite_configure() }()
    private static let mappingChecked: Void = { _ = csqlite_map_with_space() }()

    /// From now on what SQLite maps has space on disk, or opening it fails for want of that.
    static func mapsWithSpace() {
        _ = configured
        _ = mappingChecked
    }

    enum Mode {
        case readOnly
        /// As `readOnly`, with the index of the log in memory: takes no space on the disk.
        case frugal
        case readWrite
        /// Makes the file if it is missing.
        case create
        case memory

        var flags: Int32 {
            switch self {
            case .readOnly: SQLITE_OPEN_READONLY
            case .frugal: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
            case .readWrite: SQLITE_OPEN_READWRITE
            case .create, .memory: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            }
        }

        /// What SQLite calls the database at `path`.
        fileprivate func name(of path: String) -> String {
            switch self {
            case .memory: return ":memory:"
            case .frugal:
                // A URI, in which three characters have a meaning. Every command that reads comes here.
                var uri = Array("file:".utf8)
                for byte in path.utf8 {
                    switch byte {
                    case UInt8(ascii: "%"): uri += "%25".utf8
                    case UInt8(ascii: "?"): uri += "%3f".utf8
                    case UInt8(ascii: "#"): uri += "%23".utf8
                    default: uri.append(byte)
                    }
                }
                return String(decoding: uri + "?readonly_shm=1".utf8, as: UTF8.self)
            default: return path
            }
        }
    }

    /// - Parameter label: what is open, for messages, e.g. `/var/lib/strata/strata.db`.
    init(_ path: String, _ mode: Mode) throws {
        _ = Self.configured
        label = path
        var opened: OpaquePointer?
        let result = sqlite3_open_v2(
            mode.name(of: path),
            &opened,
            mode.flags | SQLITE_OPEN_NOMUTEX,
            nil
        )
        guard let opened else { throw StorageError(.system, "open \(path): out of memory") }
        handle = opened
        log = .allocate(capacity: 1)
        log.initialize(to: csqlite_wal(most_pages: Self.checkpointPages, pages: 0, is_left: 0))
        // The destructor closes it then, too.
        guard result == SQLITE_OK else { throw failure("open") }
        sqlite3_extended_result_codes(handle, 1)
        _ = csqlite_wait_when_busy(handle)
        if mode.flags & SQLITE_OPEN_READWRITE == 0 || mode == .memory { return }
        _ = csqlite_no_checkpoint_on_close(handle)
        _ = csqlite_persist_wal(handle)
        csqlite_keep_wal_short(handle, log)
    }

    deinit {
        for statement in idle { sqlite3_finalize(statement.handle) }
        sqlite3_close_v2(handle)
        log.deallocate()
    }

    /// Commits from here on leave it to `shortenLog` to carry the log over into the database.
    func leaveLog() { log.pointee.is_left = 1 }

    func shortenLog() { csqlite_truncate_wal(handle, log) }

    /// Whether a commit is on disk when it returns (synchronous FULL), or only whole and in order (NORMAL).
    func setDurable(_ durable: Bool) throws {
        if isDurable == durable { return }
        try run(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", [])
        isDurable = durable
    }

    /// Fills a new file with the layout of all `migrations`; nothing is synced, and a kill leaves a torn file.
    func makeAtOnce(_ migrations: [String]) throws {
        try script("PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY; BEGIN IMMEDIATE")
        for migration in migrations { try script(migration) }
        try script("PRAGMA user_version=\(migrations.count); COMMIT; PRAGMA journal_mode=WAL")
    }

    /// Runs statements separated by `;`, without values and answers.
    func script(_ sql: String) throws {
        guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw failure("write") }
    }

    /// - Returns: how many rows it changed.
    @discardableResult
    func run(_ sql: String, _ values: [SQLValue]) throws -> Int {
        _ = try query(sql, values) { _ in }
        return Int(sqlite3_changes(handle))
    }

    func query<T>(_ sql: String, _ values: [SQLValue], _ body: (Row) throws -> T) throws -> [T] {
        let statement = try take(sql)
        defer { giveBack(statement, sql) }
        try bind(values, to: statement, sql)
        var answers: [T] = []
        while true {
            let result = sqlite3_step(statement)
            if result == SQLITE_DONE { return answers }
            guard result == SQLITE_ROW else {
                throw failure(sqlite3_stmt_readonly(statement) != 0 ? "read" : "write")
            }
            answers.append(try body(Row(statement: statement)))
        }
    }

    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Out of the cache while in use, so that the same SQL may be run again from inside its own row closure.
    private func take(_ sql: String) throws -> OpaquePointer {
        for index in idle.indices where idle[index].sql == sql { return idle.remove(at: index).handle }
        var statement: OpaquePointer?
        let flags = UInt32(SQLITE_PREPARE_PERSISTENT)
        guard sqlite3_prepare_v3(handle, sql, -1, flags, &statement, nil) == SQLITE_OK, let statement else {
            throw failure("prepare \(sql)")
        }
        return statement
    }

    private func giveBack(_ statement: OpaquePointer, _ sql: String) {
        sqlite3_reset(statement)
        sqlite3_clear_bindings(statement)
        idle.append(PreparedStatement(sql: sql, handle: statement))
    }

    private func bind(_ values: [SQLValue], to statement: OpaquePointer, _ sql: String) throws {
        precondition(
            values.count == Int(sqlite3_bind_parameter_count(statement)),
            "\(values.count) values for: \(sql)"
        )
        for (index, value) in values.enumerated() {
            let position = Int32(index + 1)
            let result =
                switch value {
                case .null: sqlite3_bind_null(statement, position)
                case .integer(let number): sqlite3_bind_int64(statement, position, number)
                case .text(var text):
                    text.withUTF8 { bytes in
                        bytes.withMemoryRebound(to: CChar.self) {
                            // An empty String may have no address, which would bind NULL.
                            csqlite_bind_text(
                                statement,
                                position,
                                $0.baseAddress ?? Self.empty,
                                Int32(clamping: $0.count)
                            )
                        }
                    }
                case .blob(let bytes):
                    bytes.withUnsafeBytes {
                        csqlite_bind_blob(statement, position, $0.baseAddress, Int32(clamping: $0.count))
                    }
                }
            guard result == SQLITE_OK else { throw failure("write") }
        }
    }

    nonisolated(unsafe) private static let empty: UnsafePointer<CChar> = {
        let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
        byte.initialize(to: 0)
        return UnsafePointer(byte)
    }()

    private var isOutOfSpace: Bool { [ENOSPC, EDQUOT].contains(sqlite3_system_errno(handle)) }

    private var isOnReadOnlyFileSystem: Bool {
        let readOnly: UInt = 1  // ST_RDONLY
        var figures = statvfs()
        return statvfs(label, &figures) == 0 && figures.f_flag & readOnly != 0
    }

    private func failure(_ operation: String) -> StorageError {
        let message = "\(operation) \(label): \(String(cString: sqlite3_errmsg(handle)))"
        switch sqlite3_errcode(handle) & 0xFF {
        case SQLITE_FULL,
            SQLITE_IOERR where isOutOfSpace:
            return StorageError(
                .noSpace,
                "\(operation) \(label): \(Errno.noSpace)",
                remedy: "free space on the file system of the store (strata system df, strata system prune)"
            )
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            return StorageError(
                .corrupt,
                message,
                remedy: "restore strata.db from a backup, or remove the store"
            )
        case SQLITE_BUSY, SQLITE_LOCKED:
            return StorageError(.inUse, message, remedy: "another process holds the database; try again")
        case SQLITE_CONSTRAINT: return StorageError(.exists, message)
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_CANTOPEN, SQLITE_AUTH:
            if isOnReadOnlyFileSystem {
                return StorageError(
                    SystemError(operation, label, .readOnlyFileSystem),
                    doing: "use the store",
                    remedy: StorageError.readOnlyRemedy
                )
            }
            return StorageError(.permission, message, remedy: "run as the owner of the store")
        default: return StorageError(.system, message)
        }
    }
}
