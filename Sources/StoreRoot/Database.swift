// SPDX-License-Identifier: Apache-2.0

import Glibc
import Storage

/// The rows of a store.
///
/// One connection, opened on first use; threads take turns.
///
/// A transaction is short: no file lock is waited for inside one, and no work happens inside one.
package final class Database: @unchecked Sendable {
    private let open: @Sendable () throws -> Connection
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    /// Frees the space that the store keeps back; `false` if there is none.
    private let useReserve: @Sendable () -> Bool
    /// Guarded by `mutex`, as all that it does.
    private var connection: Connection?

    init(useReserve: @escaping @Sendable () -> Bool, open: @escaping @Sendable () throws -> Connection) {
        self.useReserve = useReserve
        self.open = open
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

    /// All rows of the answer, each made by `row`.
    ///
    /// Never waits for a writer of another process.
    package func query<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> [T] {
        try withConnection { try $0.query(sql, values, row) }
    }

    /// The first row of the answer, if there is one.
    package func first<T>(_ sql: String, _ values: [SQLValue] = [], row: (Row) throws -> T) throws -> T? {
        try query(sql, values, row: row).first
    }

    /// Several queries that see one state of the rows.
    package func snapshot<T>(_ body: (Transaction) throws -> T) throws -> T {
        try withConnection { connection in
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
        try withConnection(usingReserve: freesSpace) { connection in
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
    }

    /// Even a read needs some space: SQLite's index of the log is made anew by the first of lone processes.
    private func withConnection<T>(usingReserve: Bool = true, _ body: (Connection) throws -> T) throws -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        do {
            return try body(opened())
        } catch let error as StorageError where error.code == .noSpace && usingReserve && useReserve() {
            return try body(opened())
        }
    }

    private func opened() throws -> Connection {
        if let connection { return connection }
        let made = try open()
        connection = made
        return made
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
