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
    /// Guarded by `mutex`, as all that it does.
    private var connection: Connection?

    init(open: @escaping @Sendable () throws -> Connection) {
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
    /// - Parameter durable: whether the rows are on disk when this returns (one fdatasync). Otherwise they are whole and in
    ///   order, and a power cut may take the last ones back.
    @discardableResult
    package func transaction<T>(durable: Bool, _ body: (Transaction) throws -> T) throws -> T {
        try withConnection { connection in
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

    private func withConnection<T>(_ body: (Connection) throws -> T) throws -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if let connection { return try body(connection) }
        let opened = try open()
        connection = opened
        return try body(opened)
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
