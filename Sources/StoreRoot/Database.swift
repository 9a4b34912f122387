// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The rows of a store.
///
/// One connection, opened on first use; threads take turns.
///
/// A transaction is short: no file lock is waited for inside one, and no work happens inside one.
package final class Database: @unchecked Sendable {
    /// Where the rows are.
    enum Place: Sendable {
        /// Nowhere: a store that does not exist.
        case empty
        /// - needsSpaceToMap: whether a write to a mapped file may need space (`Files.needsSpaceToMap`); where there is none,
        ///   that ends the process (SIGBUS), and SQLite maps its index of the log.
        case file(String, StoreRoot.Access, StoreReserve, needsSpaceToMap: Bool)
    }

    private let place: Place
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    /// Guarded by `mutex`, as all that it does.
    private var connection: Connection?
    /// Whether the connection takes no space on the disk.
    private var isFrugal = false
    /// Whether connections that only read are to write nothing.
    ///
    /// Not even SQLite's index of the log, which the first of lone processes makes anew: what waits for the disk next then
    /// finds nothing to wait for.
    private var readsFrugally: Bool
    /// Whether connections leave their log to `shortenLog`.
    private var leavesLog = false

    init(_ place: Place) {
        self.place = place
        if case .file(_, .read, _, _) = place { readsFrugally = true } else { readsFrugally = false }
        mutex = .allocate(capacity: 1)
        // Recursive, so that a row closure may ask again.
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        pthread_mutex_init(mutex, &attributes)
        pthread_mutexattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Makes this process leave its log to `shortenLog`, which syncs: for a command with a better time for that than
    /// between its steps.
    package func leaveLog() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        leavesLog = true
        connection?.leaveLog()
    }

    /// Carries the log over into the database if it is long, and there is space for that.
    package func shortenLog() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if !isOutOfSpace { connection?.shortenLog() }
    }

    /// All rows of the answer, each made by `row`.
    ///
    /// Never waits for a writer of another process.
    package func query<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> [T] {
        try reading { try $0.query(sql, values, row) }
    }

    /// The first row of the answer, if there is one.
    package func first<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> T? {
        try query(sql, values, row: row).first
    }

    /// Several queries that see one state of the rows.
    package func snapshot<T>(_ body: (Transaction) throws -> T) throws -> T {
        try reading { connection in
            if connection.isInTransaction { return try body(Transaction(connection: connection)) }
            try connection.run("BEGIN", [])
            defer { _ = try? connection.run("COMMIT", []) }
            return try body(Transaction(connection: connection))
        }
    }

    /// Runs `body` as one writing transaction; an error that it throws takes everything back.
    ///
    /// - Parameters:
    ///   - durable: whether the rows are on disk when this returns (one fdatasync). Otherwise they are whole and in order,
    ///     and a power cut may take the last ones back.
    ///   - freesSpace: whether it leads to space being freed. On a full disk it then uses what the store keeps back, and
    ///     `body` runs once more.
    @discardableResult
    package func transaction<T>(
        durable: Bool,
        freesSpace: Bool = false,
        _ body: (Transaction) throws -> T
    ) throws -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        var reserve = freesSpace ? self.reserve : nil
        if isOutOfSpace {
            guard freesSpace else {
                throw StorageError(SystemError("write", nil, .noSpace), doing: "change the rows of the store")
            }
            _ = reserve.take()?.use()
            connection = nil
        }
        do {
            return try withUse(of: reserve) { try attempt(durable, body) }
        } catch let error as StorageError where error.code == .noSpace && reserve?.use() == true {
            connection = nil
            return try attempt(durable, body)
        }
    }

    /// Runs `body`, which may find in the middle of a write to SQLite's index that there is no space for it any more.
    private func withUse<T>(of reserve: StoreReserve?, _ body: () throws -> T) rethrows -> T {
        guard let reserve, case .file(_, _, _, needsSpaceToMap: true) = place else { return try body() }
        return try reserve.path.withPlatformString { path in
            csqlite_may_use(path)
            defer { csqlite_may_use(nil) }
            return try body()
        }
    }

    private func attempt<T>(_ durable: Bool, _ body: (Transaction) throws -> T) throws -> T {
        let connection = try opened(frugal: false)
        // From now on this one reads too: to open another by turns takes long.
        readsFrugally = false
        precondition(!connection.isInTransaction, "a transaction inside a transaction")
        try connection.setDurable(durable)
        try connection.run("BEGIN IMMEDIATE", [])
        do {
            let answer = try body(Transaction(connection: connection))
            try connection.run("COMMIT", [])
            return answer
        } catch {
            if connection.isInTransaction { _ = try? connection.run("ROLLBACK", []) }
            throw error
        }
    }

    /// Runs `body`, once more on a connection of the other kind if that cannot read now: for want of space, or without an
    /// index of its own while another process is making the common one.
    private func reading<T>(_ body: (Connection) throws -> T) throws -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if let connection, connection.isInTransaction { return try body(connection) }
        // The index that the first of lone processes makes anew may lose its space while that is being done.
        if connection == nil, case .file(_, _, let reserve, needsSpaceToMap: true) = place, reserve.isNeeded {
            readsFrugally = true
        }
        if readsFrugally, connection == nil, case .file(let path, _, _, _) = place {
            readsFrugally = csqlite_reads_alone("\(path)-wal") != 0
        }
        let frugal = isFrugal || readsFrugally || isOutOfSpace
        do {
            return try body(opened(frugal: frugal))
        } catch let error as StorageError where error.code == (frugal ? .permission : .noSpace) {
            if frugal && !readsFrugally { throw error }
            readsFrugally = false
            return try body(opened(frugal: !frugal))
        }
    }

    private func opened(frugal: Bool) throws -> Connection {
        if let connection, frugal == isFrugal { return connection }
        // Those of one process share one index, so there is one at a time.
        connection = nil
        let made = try open(frugal)
        if leavesLog { made.leaveLog() }
        connection = made
        isFrugal = frugal
        return made
    }

    private func open(_ frugal: Bool) throws -> Connection {
        switch place {
        case .empty:
            let empty = try Connection("an empty store", .memory)
            for migration in Schema.migrations { try empty.script(migration) }
            return empty
        case .file(let path, let access, _, let needsSpaceToMap):
            if needsSpaceToMap { Connection.mapsWithSpace() }
            return try Connection(path, frugal ? .frugal : access == .read ? .readOnly : .readWrite)
        }
    }

    private var reserve: StoreReserve? {
        if case .file(_, .write, let reserve, _) = place { return reserve }
        return nil
    }

    /// Whether the index that SQLite has mapped cannot be written to for want of space.
    private var isOutOfSpace: Bool {
        guard connection != nil, case .file(_, _, _, needsSpaceToMap: true) = place else { return false }
        return csqlite_has_space() == 0
    }
}

/// The inside of a transaction; not to be kept.
package struct Transaction {
    let connection: Connection

    /// - Returns: how many rows were changed.
    @discardableResult
    package func run(_ sql: String, _ values: [SQLValue] = []) throws -> Int {
        try connection.run(sql, values)
    }

    package func query<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> [T] {
        try connection.query(sql, values, row)
    }

    package func first<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> T? {
        try connection.query(sql, values, row).first
    }
}
