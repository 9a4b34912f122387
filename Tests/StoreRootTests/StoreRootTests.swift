// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import StoreRoot
import SystemPackage
import TestGates
import Testing

/// A fresh directory, removed at the end.
final class Scratch: Sendable {
    let path: FilePath

    init() throws {
        var template = Array("/tmp/strata-store-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp", nil, Errno(rawValue: errno)) }
        path = FilePath(platformString: made)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: FilePath) {
        if let status = try? Files.status(path), status.kind == .directory,
            let directory = try? Files.openDirectory(path), let entries = try? Files.list(directory.raw)
        {
            for entry in entries { remove(path.appending(entry.name.printable)) }
            _ = try? Files.unlink(path, isDirectory: true)
        } else {
            _ = try? Files.unlink(path)
        }
    }

    func open(_ access: StoreRoot.Access) throws -> StoreRoot {
        try StoreRoot.open(path.appending("root"), run: path.appending("run"), access: access)
    }
}

func storageError<T>(_ body: () throws -> T) -> StorageError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? StorageError
    }
}

struct OpeningTests {
    @Test func aMissingStoreReadsAsEmptyAndIsNotMade() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.read)
        #expect(!store.exists)
        let count = try store.database.first("SELECT count(*) FROM images") { $0.integer(0) }
        #expect(count == 0)
        #expect(try Files.status(scratch.path.appending("root")) == nil)
    }

    @Test func aFirstWriteMakesTheLayout() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        #expect(store.exists && store.id.utf8.count == 16)
        #expect(try Files.status(store.path)?.mode == 0o700)
        for name in ["locks", "drivers", "containers", "oci", "version", "strata.db"] {
            #expect(try Files.status(store.path.appending(name)) != nil, "\(name)")
        }
        #expect(store.runPath == scratch.path.appending("run").appending(store.id))
        #expect(try scratch.open(.read).id == store.id)
        #expect(try scratch.open(.write).id == store.id)
    }

    @Test func readingWorksWithoutAWriteAheadLog() throws {
        let scratch = try Scratch()
        let path = try scratch.open(.write).path
        try Files.unlink(path.appending("strata.db-wal"))
        try Files.unlink(path.appending("strata.db-shm"))
        let count = try scratch.open(.read).database.first("SELECT count(*) FROM layers") { $0.integer(0) }
        #expect(count == 0)
    }

    @Test func aReaderCannotWrite() throws {
        let scratch = try Scratch()
        _ = try scratch.open(.write)
        let reader = try scratch.open(.read)
        let error = storageError {
            try reader.database.transaction(durable: false) { try $0.run("DELETE FROM images") }
        }
        #expect(error?.code == .permission)
    }

    @Test func aNewerLayoutIsRefused() throws {
        let scratch = try Scratch()
        let path = try scratch.open(.write).path
        let stamp = Array("\(Schema.version + 1)\nwhatever\n".utf8)
        try Files.replace(path.appending("version"), with: stamp, durable: false)
        for access in [StoreRoot.Access.read, .write] {
            #expect(storageError { try scratch.open(access) }?.code == .unsupported)
        }
    }

    @Test func rowsOfANewerLayoutAreRefusedWhenTheStampLags() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        try store.database.transaction(durable: true) {
            try $0.run("PRAGMA user_version=\(Schema.version + 1)")
        }
        let stamp = Array("\(Schema.version)\n\(store.id)\nmigrating\n".utf8)
        try Files.replace(store.path.appending("version"), with: stamp, durable: false)
        #expect(storageError { try scratch.open(.write) }?.code == .unsupported)
    }

    @Test func anUnfinishedMigrationIsEnded() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        let stamp = Array("\(Schema.version)\n\(store.id)\nmigrating\n".utf8)
        try Files.replace(store.path.appending("version"), with: stamp, durable: false)
        #expect(try scratch.open(.write).id == store.id)
        let lines = try Files.contents(store.path.appending("version")).split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 2)
    }

    @Test func containersOfAnOlderLayoutAreKept() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        try store.database.transaction(durable: true) { transaction in
            for statement in [
                "DROP TABLE containers",
                """
                CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL,
                image_reference TEXT NOT NULL, driver TEXT NOT NULL, layer TEXT NOT NULL, created INTEGER NOT NULL,
                command TEXT NOT NULL DEFAULT '', config TEXT NOT NULL, status TEXT NOT NULL, exit_code INTEGER,
                error TEXT, started INTEGER, finished INTEGER, auto_remove INTEGER NOT NULL DEFAULT 0)
                STRICT, WITHOUT ROWID
                """,
                """
                INSERT INTO containers VALUES ('id', 'name', 'image', 'busybox', 'overlay2', 'layer', 1, 'sh', '{}',
                'exited', 3, 'why', 4, 5, 1)
                """,
                "PRAGMA user_version=2",
            ] { try transaction.run(statement) }
        }
        let stamp = Array("2\n\(store.id)\n".utf8)
        try Files.replace(store.path.appending("version"), with: stamp, durable: false)
        let rows = try scratch.open(.write).database.query(
            """
            SELECT id, name, image, image_reference, driver, layer, command, config, status, error, created, exit_code,
            started, finished, auto_remove FROM containers
            """
        ) { row in ((0..<10).map(row.text), (10..<15).map(row.integer)) }
        let row = try #require(rows.first)
        #expect(
            row.0 == ["id", "name", "image", "busybox", "overlay2", "layer", "sh", "{}", "exited", "why"]
        )
        #expect(row.1 == [1, 3, 4, 5, 1])
    }

    @Test func aMakingThatWasKilledIsDoneAgain() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        try Files.unlink(store.path.appending("version"))
        #expect(try scratch.open(.write).exists)
    }

    @Test(arguments: ["strata.db-draft", "strata.db-draft-journal", "strata.db-wal", "strata.db-shm"])
    func whatAKilledMakingLeftDoesNoHarm(name: String) throws {
        let scratch = try Scratch()
        let root = scratch.path.appending("root")
        try Files.makeDirectories(root)
        let torn = [UInt8](repeating: 0x5a, count: 10_000)
        try Files.replace(root.appending(name), with: torn, durable: false)
        let store = try scratch.open(.write)
        #expect(try store.database.first("SELECT count(*) FROM layers") { $0.integer(0) } == 0)
        try store.database.transaction(durable: true) {
            try $0.run("INSERT INTO settings VALUES ('key', 'value')")
        }
        let read = try scratch.open(.read).database
        #expect(try read.first("SELECT value FROM settings") { $0.text(0) } == "value")
        let directory = try Files.openDirectory(root)
        let left = try Files.list(directory.raw).map { $0.name.printable }
        #expect(left.filter { $0.contains("draft") } == [])
    }

    @Test func aStoreMadeAtOnceIsAsOneMigratedStepByStep() throws {
        func layout(_ store: StoreRoot) throws -> [String] {
            let tables = try store.database.query("SELECT name, sql FROM sqlite_schema ORDER BY name") {
                "\($0.text(0)): \($0.optionalText(1) ?? "")"
            }
            return try tables
                + ["user_version", "journal_mode", "page_size", "auto_vacuum", "encoding"].flatMap { name in
                    try store.database.query("SELECT * FROM pragma_\(name)") { "\(name) \($0.text(0))" }
                }
        }
        let made = try Scratch()
        let migrated = try Scratch()
        try Files.makeDirectories(migrated.path.appending("root"))
        try Files.replace(migrated.path.appending("root/strata.db"), with: [], durable: false)
        let answer = try layout(made.open(.write))
        #expect(try answer == layout(migrated.open(.write)))
        #expect(answer.contains("journal_mode wal") && answer.contains("user_version \(Schema.version)"))
    }

    @Test func aForeignDirectoryIsNotTakenOver() throws {
        let scratch = try Scratch()
        try Files.makeDirectories(scratch.path.appending("root").appending("precious"))
        #expect(storageError { try scratch.open(.write) }?.code == .exists)
    }

    @Test func garbageInTheVersionFileIsCorrupt() throws {
        let scratch = try Scratch()
        let path = try scratch.open(.write).path
        try Files.replace(path.appending("version"), with: Array("abc".utf8), durable: false)
        #expect(storageError { try scratch.open(.read) }?.code == .corrupt)
    }

    @Test func manyMakersMakeOneStore() async throws {
        let scratch = try Scratch()
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<8 { group.addTask { try scratch.open(.write).id } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
    }
}

struct DatabaseTests {
    private func insert(_ transaction: Transaction, _ key: String, _ value: String) throws {
        try transaction.run("INSERT INTO settings VALUES (?, ?)", [.text(key), .text(value)])
    }

    private func value(_ store: StoreRoot, _ key: String) throws -> String? {
        try store.database.first("SELECT value FROM settings WHERE key = ?", [.text(key)]) { $0.text(0) }
    }

    @Test func aTransactionIsSeenByOthersAfterItsEnd() throws {
        let scratch = try Scratch()
        let writer = try scratch.open(.write)
        let reader = try scratch.open(.read)
        try writer.database.transaction(durable: false) { transaction in
            try insert(transaction, "a", "ü\u{0}x")
            #expect(try value(reader, "a") == nil)
        }
        #expect(try value(reader, "a") == "ü\u{0}x")
    }

    /// What waits for the disk after a read has nothing to wait for.
    @Test func readingWritesNothing() throws {
        let scratch = try Scratch()
        // Its connection is closed by the time that the state is looked at.
        try scratch.open(.write).database.transaction(durable: false) { try insert($0, "a", "1") }
        let root = try scratch.open(.read).path
        let states = { () throws -> [FileStatus?] in
            try ["", "strata.db", "strata.db-wal", "strata.db-shm"].map {
                try Files.status(root.appending($0))
            }
        }
        let before = try states()
        // The clock of file times has moved on when a write would show in them.
        usleep(20_000)
        #expect(try value(scratch.open(.read), "a") == "1")
        #expect(try states() == before)
    }

    /// Whoever holds the index of the log and has not filled it yet.
    @Test(.requires(.program("python3")))
    func readersGetThroughWhileTheIndexIsMade() throws {
        let scratch = try Scratch()
        let path = try FilePath("\(scratch.open(.write).path)/strata.db-shm")
        try scratch.open(.write).database.transaction(durable: false) { try insert($0, "a", "1") }
        let holder = try Program.start([
            "python3", "-uc",
            """
            import fcntl, time
            index = open("\(path)", "r+b")
            fcntl.lockf(index, fcntl.LOCK_SH, 1, 128)
            index.truncate(0)
            print("ready")
            time.sleep(100)
            """,
        ])
        defer {
            holder.signal(SIGKILL)
            _ = try? holder.wait()
        }
        try holder.waitForOutput("ready")
        #expect(try value(scratch.open(.read), "a") == "1")
    }

    /// What a killed writer or a damaged disk leaves is a log without rows.
    @Test(arguments: [0, 1, 31, 32, 33, 4000], [false, true])
    func logsWithoutContentAreRead(_ size: Int, _ isDamaged: Bool) throws {
        let scratch = try Scratch()
        let path = try scratch.open(.write).path
        try scratch.open(.write).database.transaction(durable: false) { try insert($0, "a", "1") }
        let log = path.appending("strata.db-wal")
        var bytes = Array(try Files.contents(log).prefix(size))
        #expect(bytes.count == size)
        if isDamaged { for index in bytes.indices { bytes[index] ^= 0x5A } }
        try Files.replace(log, with: bytes, durable: false)
        let reader = try scratch.open(.read)
        for key in ["a", "b"] { #expect(try value(reader, key) == nil) }
    }

    @Test func anErrorTakesEverythingBack() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try store.database.transaction(durable: true) {
                try insert($0, "a", "1")
                throw Stop()
            }
        }
        #expect(try value(store, "a") == nil)
        try store.database.transaction(durable: true) { try insert($0, "a", "") }
        #expect(try value(store, "a") == "")
        #expect(
            storageError { try store.database.transaction(durable: true) { try insert($0, "a", "3") } }?.code
                == .exists
        )
        #expect(try value(store, "a") == "")
    }

    @Test func deletingUsesTheReserveAndNothingElseDoes() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        let reserve = store.path.appending("reserve")
        #expect(try Files.status(reserve)?.size == 1 << 20)
        let full = StorageError(.noSpace, "full")
        var runs = 0
        let error = storageError {
            try store.database.transaction(durable: false) { _ in
                runs += 1
                throw full
            }
        }
        #expect(error?.code == .noSpace && runs == 1)
        try store.database.transaction(durable: false, freesSpace: true) { transaction in
            try insert(transaction, "key", "\(runs)")
            runs += 1
            if try Files.status(reserve) != nil { throw full }
        }
        #expect(runs == 3)
        #expect(try value(store, "key") == "2")
        store.restoreReserve()
        #expect(try Files.status(reserve)?.size == 1 << 20)
    }

    @Test func valuesComeBackAsTheyWent() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        let bytes = (0...255).map { UInt8($0) }
        let row = try store.database.first(
            "SELECT ?, ?, ?, ?, ?",
            [.null, .integer(.min), .text("täxt"), .blob(bytes), .blob([])]
        ) { row in
            #expect(row.isNull(0) && row.optionalText(0) == nil && row.optionalInteger(1) == .min)
            #expect(row.text(2) == "täxt" && row.blob(3) == bytes && row.blob(4) == [] && !row.isNull(4))
            return true
        }
        #expect(row == true)
    }

    @Test func aQueryMayAskAgainFromItsRows() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        try store.database.transaction(durable: false) {
            for key in ["a", "b", "c"] { try insert($0, key, key) }
        }
        let sql = "SELECT key FROM settings ORDER BY key"
        let nested = try store.database.query(sql) { _ in try store.database.query(sql) { $0.text(0) } }
        #expect(nested == Array(repeating: ["a", "b", "c"], count: 3))
    }

    @Test func theLogStaysShortAndOutlivesItsWriters() throws {
        let scratch = try Scratch()
        for index in 0..<40 {
            let store = try scratch.open(.write)
            try store.database.transaction(durable: false) {
                for step in 0..<10 { try insert($0, "\(index)-\(step)", String(repeating: "x", count: 500)) }
            }
        }
        let log = try Files.status(scratch.path.appending("root/strata.db-wal"))
        #expect((log?.size ?? .max) < 100 * 4120)
        #expect(
            try scratch.open(.read).database.first("SELECT count(*) FROM settings") { $0.integer(0) } == 400
        )
    }

    @Test func aLogThatIsLeftGrowsUntilItIsShortened() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        func size() throws -> Int64 {
            try Files.status(scratch.path.appending("root/strata.db-wal"))?.size ?? -1
        }
        // Before there is a connection, so that it holds for whichever comes.
        store.database.leaveLog()
        for step in 0..<100 {
            try store.database.transaction(durable: false) { try insert($0, "\(step)", "") }
        }
        #expect(try size() > 99 * 4096)
        store.database.shortenLog()
        #expect(try size() == 0)
        #expect(try store.database.first("SELECT count(*) FROM settings") { $0.integer(0) } == 100)
    }

    @Test func writersOfManyConnectionsAllGetThrough() async throws {
        let scratch = try Scratch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                let store = try scratch.open(.write)
                group.addTask {
                    for step in 0..<25 {
                        try store.database.transaction(durable: false) { transaction in
                            try transaction.run(
                                "INSERT INTO settings VALUES (?, '')",
                                [.text("\(worker)-\(step)")]
                            )
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(
            try scratch.open(.read).database.first("SELECT count(*) FROM settings") { $0.integer(0) } == 200
        )
    }
}

struct LockTests {
    @Test func exclusiveExcludesAndSharedShares() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        let first = try store.lock("thing", .shared)
        let second = try store.lock("thing", .shared, wait: false)
        let third = try store.lock("thing", .exclusive, wait: false)
        #expect((first != nil) == true)
        #expect((second != nil) == true)
        #expect((third == nil) == true)
    }

    @Test func aLockOnARemovedNameIsTakenAnew() throws {
        let scratch = try Scratch()
        let store = try scratch.open(.write)
        let first = try store.lock("thing", .exclusive)
        store.removeLock("thing")
        let second = try store.lock("thing", .exclusive, wait: false)
        #expect((first != nil && second != nil) == true)
        #expect(try store.lockNames().contains("thing"))
    }
}
