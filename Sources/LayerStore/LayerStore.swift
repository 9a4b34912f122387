// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import LinuxSys
package import Storage
package import StoreRoot
import Synchronization
import SystemPackage

/// A driver that this process has opened.
private struct OpenDriver {
    let name: String
    let driver: any StorageDriver
}

/// The layers of a store, on whatever drivers they lie.
///
/// It knows names, parents, rows and locks; drivers know files. A layer is there if and only if a row says so: a row
/// of an image layer is written after its data is on disk, and goes before its data is touched. Whatever a killed
/// process left is data without a row, which `recover` sweeps. The order of locks stands with `StoreRoot`.
package final class LayerStore: Sendable {
    package let root: StoreRoot
    /// All built drivers, in the order in which they are tried.
    package let entries: [DriverEntry]
    let options: [String: [String: String]]
    let warn: @Sendable (String) -> Void
    /// Whether layers are on disk when a command ends; off for `--no-sync` and measurements only.
    let isDurable: Bool
    /// Few enough to be looked through.
    private let opened = Mutex<[OpenDriver]>([])
    /// Drivers whose probe passed in this process.
    private let working = Mutex<Set<String>>([])

    /// - Parameters:
    ///   - drivers: the catalog, in probe order.
    ///   - options: of drivers, each key as `<driver>.<option>`.
    ///   - isDurable: whether image layers are on disk before their rows name them.
    ///   - warn: gets what the user should know though nothing failed.
    package init(
        _ root: StoreRoot,
        drivers: [DriverEntry],
        options: [String: String] = [:],
        isDurable: Bool = true,
        warn: @escaping @Sendable (String) -> Void = { _ in }
    ) throws {
        self.root = root
        entries = drivers
        self.isDurable = isDurable
        self.warn = warn
        self.options = try Self.optionsByDriver(options, drivers)
    }

    private static func optionsByDriver(
        _ options: [String: String],
        _ drivers: [DriverEntry]
    ) throws -> [String: [String: String]] {
        var sorted: [String: [String: String]] = [:]
        for (key, value) in options {
            let parts = key.split(separator: ".", maxSplits: 1)
            guard parts.count == 2, let driver = drivers.first(where: { $0.optionPrefix == parts[0] }) else {
                throw StorageError(
                    .invalid,
                    "storage option \(key): it does not begin with the name of a driver",
                    remedy:
                        "write DRIVER.OPTION=VALUE; drivers here: "
                        + drivers.map(\.optionPrefix).joined(separator: ", ")
                )
            }
            sorted[driver.name, default: [:]][key] = value
        }
        return sorted
    }

    /// The driver `name` on this store, opened once.
    package func driver(_ name: String) throws -> any StorageDriver {
        try opened.withLock { opened in
            for other in opened where other.name == name { return other.driver }
            guard let entry = entries.first(where: { $0.name == name }) else {
                throw StorageError(
                    .notFound,
                    "storage driver \(name): no such driver was built",
                    remedy:
                        "drivers here: \(entries.map(\.name).joined(separator: ", ")); see strata driver ls"
                )
            }
            let driver = try doing("open storage driver \(name)") {
                let home = root.home(ofDriver: name)
                let options = options[name] ?? [:]
                // A driver that cannot work here is not to leave a home behind; with options it may, and says so itself.
                if options.isEmpty, try Files.status(home) == nil { try check(entry, at: home) }
                return try entry.type.init(home: home, options: options)
            }
            opened.append(OpenDriver(name: name, driver: driver))
            for line in entry.advice?(driver) ?? [] { warn(line) }
            return driver
        }
    }

    /// Fails with what the driver lacks here, if it does.
    private func check(_ entry: DriverEntry, at home: FilePath) throws {
        if working.withLock({ $0.contains(entry.name) }) { return }
        switch entry.type.probe(home: home) {
        case .works: return
        case .unavailable(let reason, let remedy):
            throw StorageError(
                .unsupported,
                "storage driver \(entry.name) does not work here: \(reason)",
                remedy: remedy ?? "see strata driver ls"
            )
        case .failed(let error): throw error
        }
    }

    /// Drivers that have a home in this store, and so perhaps layers; in the order of the catalog.
    package func driversWithState() throws -> [String] {
        try entries.map(\.name).filter { name in
            try doing("look for driver \(name)") { try Files.status(root.home(ofDriver: name)) } != nil
        }
    }

    /// The driver for commands that name none: the one this store began with, else the first that works here.
    ///
    /// The choice is kept with the first write. A driver that was chosen once and fails now is an error when it is used,
    /// never a reason to take another one, which would hide all containers.
    package func defaultDriver() throws -> String {
        if let chosen = try root.database.first(
            "SELECT value FROM settings WHERE key = 'default_driver'",
            row: { $0.text(0) }
        ) {
            return chosen
        }
        let chosen = try firstThatWorks()
        if root.access == .write {
            try root.database.transaction(durable: false) {
                try $0.run("INSERT OR IGNORE INTO settings VALUES ('default_driver', ?)", [.text(chosen)])
            }
        }
        return chosen
    }

    private func firstThatWorks() throws -> String {
        var reasons: [String] = []
        for entry in entries.filter({ !$0.isLastResort }) + entries.filter(\.isLastResort) {
            switch entry.type.probe(home: root.home(ofDriver: entry.name)) {
            case .works:
                working.withLock { _ = $0.insert(entry.name) }
                if entry.isLastResort {
                    let why = reasons.isEmpty ? "" : " (\(reasons.joined(separator: "; ")))"
                    warn(
                        "using storage driver \(entry.name), a last resort: no other driver works here\(why)"
                    )
                }
                return entry.name
            case .unavailable(let reason, _): reasons.append("\(entry.name): \(reason)")
            case .failed(let error): throw error
            }
        }
        throw StorageError(
            .unsupported,
            "choose a storage driver: none works here (\(reasons.joined(separator: "; ")))",
            remedy: "see strata driver ls"
        )
    }
}

// MARK: - Rows

extension LayerStore {
    /// All layers, oldest first.
    package func layers() throws -> [LayerRow] { try root.database.layers() }

    /// The row of `id`; an error if there is none.
    package func layer(_ id: LayerID) throws -> LayerRow {
        guard let row = try root.database.layer(id) else { throw Self.absence(of: id) }
        return row
    }

    private static func absence(of id: LayerID) -> StorageError {
        StorageError(.notFound, "layer \(id): no such layer")
    }

    /// `id` and what it stands on, the base first.
    package func ancestry(of id: LayerID) throws -> [LayerRow] {
        let rows = try root.database.ancestry(of: id)
        if rows.isEmpty { throw Self.absence(of: id) }
        return rows
    }

    /// `id` with all that it stands on.
    package func chain(_ id: LayerID) throws -> LayerChain { LayerChain(try ancestry(of: id).map(\.id)) }

    /// What a layer stands on, without itself.
    package func parents(of row: LayerRow) throws -> LayerChain {
        guard let parent = row.parent else { return LayerChain() }
        return try chain(parent)
    }

    /// The image layers that end with `chainID`, if `driver` has them.
    package func chain(of chainID: Digest, driver: String) throws -> LayerChain? {
        let rows = try root.database.ancestry(of: chainID, driver: driver)
        if rows.isEmpty { return nil }
        if let damaged = rows.first(where: { !$0.isSealed }) {
            throw StorageError(
                .corrupt,
                "use layer \(damaged.id) on \(driver): it is not whole",
                remedy: "strata system check --repair"
            )
        }
        return LayerChain(rows.map(\.id))
    }

    /// The layers of an image, if `driver` has them all: in one statement for what every container begins with.
    ///
    /// Empty for an image of no layers, and for one that is not there.
    package func chain(ofImage image: Digest, driver: String) throws -> LayerChain? {
        guard let layers = try root.database.layers(ofImage: image, driver: driver),
            layers.allSatisfy(\.isSealed)
        else { return nil }
        return LayerChain(layers.map(\.id))
    }

    /// The drivers that have the image layer `chainID` unpacked.
    package func drivers(having chainID: Digest) throws -> [String] {
        try root.database.copies(of: chainID, except: "").map(\.driver)
    }
}

// MARK: - New layers

/// A lock in a collection; released with its last reference.
final class HeldLock: Sendable {
    let name: String
    let lock: FileLock

    init(_ name: String, _ lock: consuming FileLock) {
        self.name = name
        self.lock = lock
    }
}

extension LayerStore {
    /// A lock that is waited for.
    func wait(for name: String, _ mode: FileLock.Mode) throws -> HeldLock {
        guard let lock = try root.lock(name, mode) else {
            throw StorageError(.system, "lock \(name): flock did not wait")
        }
        return HeldLock(name, lock)
    }

    /// `nil` if somebody holds it.
    func tryLock(_ name: String, _ mode: FileLock.Mode) throws -> HeldLock? {
        guard let lock = try root.lock(name, mode, wait: false) else { return nil }
        return HeldLock(name, lock)
    }

    /// A fresh id, with its lock held exclusively.
    ///
    /// Making the layer decides a collision with data that no row names.
    func claimID() throws -> (id: LayerID, lock: HeldLock) {
        while true {
            let id = LayerID.random()
            guard let lock = try tryLock(id.rawValue, .exclusive) else { continue }
            if try root.database.layer(id) == nil { return (id, lock) }
        }
    }

    /// Holds `id` against removal until the lock goes.
    ///
    /// Throws `.notFound` if it is gone.
    func protect(_ id: LayerID) throws -> HeldLock {
        let lock = try wait(for: id.rawValue, .shared)
        guard try root.database.hasLayer(id) else { throw Self.absence(of: id) }
        return lock
    }

    /// Takes back a layer that has no row.
    ///
    /// What cannot be removed now is left to `recover`.
    func undo(_ id: LayerID, _ driver: any StorageDriver) {
        do {
            try driver.remove(id)
            root.removeLock(id.rawValue)
        } catch {
            warn("remove half-made layer \(id): \(error); it will be tried again")
        }
    }

    func syncIfDurable(_ driver: any StorageDriver) throws {
        if isDurable { try driver.sync() }
    }
}
