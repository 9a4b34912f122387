// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import SystemPackage
import TestGates
import Testing

/// On each driver: containers' layers, init layers, commits, copies between drivers.
@Suite(.requires(.root, .overlay))
struct ContainerTests {
    /// Those that work where the tests have their stores, or in a file there; the others are held to the conformance suite
    /// elsewhere.
    static let drivers = Fixture.faultyDrivers.filter { driver in
        if driver.name == "btrfs" { return hasBtrfs }
        guard case .works = driver.type.probe(home: TemporaryDirectory.base.appending("drivers")) else {
            return false
        }
        return true
    }.map(\.name)

    private static let hasBtrfs = [Need.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs")]
        .allSatisfy { $0.unmet == nil }

    /// What an engine does for a container.
    private func makeContainer(
        _ store: LayerStore,
        over chain: LayerChain,
        _ driver: String
    ) throws -> HeldLayer {
        let prepared = try store.prepare(over: chain, driver: driver)
        try store.root.database.transaction(durable: false) { transaction in
            try prepared.insertRow(in: transaction)
            try insertContainer("c-\(prepared.id)", layer: prepared.id, driver, in: transaction)
        }
        return prepared.end()
    }

    private func initEntries(_ root: CInt?) throws -> [LayerEntry] {
        let missing = try ["etc/hosts", "dev", "proc"].filter { path in
            guard let root else { return true }
            return try Files.status(path, below: root) == nil
        }
        return missing.map { path in
            let kind: LayerEntry.Kind = path == "etc/hosts" ? .regular(size: 0) : .directory
            return LayerEntry(path: TreePath(cleaning: path), kind: kind, mode: 0o755)
        }
    }

    private func container(_ store: LayerStore, _ image: TestImage, _ driver: String) throws -> HeldLayer {
        let chain = try store.materialise(image.sources, driver: driver)
        let base = try store.initLayer(over: chain, driver: driver, entries: initEntries)
        return try makeContainer(store, over: base, driver)
    }

    @Test(arguments: drivers)
    func theInitLayerIsMadeOnceAndShared(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let chain = try store.materialise(try TestImage.sample().sources, driver: driver)
        let base = try store.initLayer(over: chain, driver: driver, entries: initEntries)
        #expect(base.ids.count == 4)
        let again = try fixture.open().initLayer(over: chain, driver: driver) { _ in
            Issue.record("it was made before")
            return []
        }
        #expect(again == base)
        let tree = try store.mountReadOnly(base, driver: driver)
        #expect(try text("etc/hosts", in: tree) == "")
        #expect(try text("etc/passwd", in: tree) == "root")
        #expect(try Files.status("etc", below: tree.root.raw)?.mtime.seconds == 2000)
        #expect(try fixture.lockNames() == [])
    }

    @Test(arguments: drivers)
    func anImageWithoutLayersGetsAnInitLayer(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let base = try store.initLayer(over: LayerChain(), driver: driver, entries: initEntries)
        #expect(try store.initLayer(over: LayerChain(), driver: driver, entries: initEntries) == base)
        let held = try makeContainer(store, over: base, driver)
        let tree = try store.mount(held, .readWrite)
        try write("new", "1", in: tree)
        #expect(try store.changes(held.id).changes.map(\.path.description) == ["/", "/new"])
    }

    @Test(arguments: drivers)
    func aPreparedLayerThatIsDroppedGoes(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        do {
            let prepared = try store.prepare(over: LayerChain(), driver: driver)
            #expect(try store.driver(driver).list() == [prepared.id])
        }
        #expect(try store.driver(driver).list() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test(arguments: drivers)
    func aPreparedLayerWhoseTransactionFailedIsRemoved(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        struct Stop: Error {}
        do {
            let prepared = try store.prepare(over: LayerChain(), driver: driver)
            #expect(throws: Stop.self) {
                try store.root.database.transaction(durable: false) { transaction in
                    try prepared.insertRow(in: transaction)
                    throw Stop()
                }
            }
        }
        #expect(try store.driver(driver).list() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test func aFailedPrepareLeavesNothing() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        fixture.faults.arm(.prepare)
        #expect(throws: Faults.Injected.self) {
            _ = try store.prepare(over: LayerChain(), driver: "overlay2")
        }
        #expect(try fixture.lockNames() == [])
        #expect(try store.driver("overlay2").list() == [])
    }

    @Test(arguments: drivers)
    func aHeldLayerIsNobodyElses(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let held = try container(store, try TestImage.sample(), driver)
        #expect(try fixture.open().hold(held.id, wait: false) == nil)
        let passedOn = FileLock(adopting: try held.lock.fd.duplicate())
        let adopted = try fixture.open().adopt(held.id, lock: passedOn)
        #expect(adopted.parents == held.parents && adopted.driver == driver)
    }

    @Test(arguments: drivers)
    func removingAContainerTakesItsData(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let held = try container(store, try TestImage.sample(), driver)
        try store.root.database.transaction(durable: false) { transaction in
            try store.deleteRow(held.id, in: transaction)
            try transaction.run("DELETE FROM containers WHERE layer = ?", [.text(held.id.rawValue)])
        }
        store.discard(held)
        #expect(try !store.driver(driver).list().contains(held.id))
        #expect(try fixture.lockNames() == [])
    }

    @Test(arguments: drivers)
    func aContainerWithoutItsLayerIsDropped(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let id: LayerID
        do {
            let held = try container(store, try TestImage.sample(), driver)
            id = held.id
            // Held: nobody may judge it yet.
            try store.driver(driver).remove(id)
            #expect(try fixture.open().recover().containers == [])
        }
        #expect(try fixture.open().recover().containers == ["c-\(id)"])
        #expect(try store.root.database.query("SELECT id FROM containers") { $0.text(0) } == [])
        #expect(storageError { try store.layer(id) }?.code == .notFound)
    }

    // MARK: - Commit

    @Test(arguments: drivers)
    func commitMakesALayerOfTheChangesAlone(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let image = try TestImage.sample()
        let held = try container(store, image, driver)
        let tree = try store.mount(held, .readWrite)
        try write("etc/passwd", "changed", in: tree)
        try write("new", "file", in: tree)
        try Files.unlink("link", below: tree.root.raw)
        try Files.unlink("etc/hosts", below: tree.root.raw)  // only the init layer had it
        var recorded: CommittedLayer?
        let committed = try store.commit(held.id) { recorded = $1 }
        #expect(recorded?.chainID == committed.chainID)
        #expect(committed.chain.ids.count == 4)
        #expect(committed.chainID == Digest.chainID(parent: try image.chainID, diffID: committed.diffID))
        #expect(try store.chain(of: committed.chainID, driver: driver) == committed.chain)
        let changes = try store.changes(unwrap(committed.chain.top)).changes.map { "\($0.kind) \($0.path)" }
        let expected = ["modified /", "modified /etc", "modified /etc/passwd", "deleted /link", "added /new"]
        #expect(changes == expected)
        let made = try store.mountReadOnly(committed.chain, driver: driver)
        #expect(try text("etc/passwd", in: made) == "changed")
        #expect(try text("new", in: made) == "file")
        #expect(try Files.status("etc/hosts", below: made.root.raw) == nil)
        #expect(try Files.status("dev", below: made.root.raw) == nil)
        #expect(try Files.status("link", below: made.root.raw) == nil)
        #expect(
            try store.check(isRepairing: false) { _ in nil }.filter { $0.problem == .wrongContent }.isEmpty
        )
    }

    @Test(arguments: drivers)
    func theSameChangesGiveTheSameLayer(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let held = try container(store, try TestImage.sample(), driver)
        let tree = try store.mount(held, .readWrite)
        try write("new", "file", in: tree)
        let first = try store.commit(held.id) { _, _ in }
        let second = try store.commit(held.id) { _, _ in }
        #expect(first.chain == second.chain)
        #expect(first.diffID == second.diffID)
        try write("new", "other", in: tree)
        #expect(try store.commit(held.id) { _, _ in }.diffID != first.diffID)
        #expect(try fixture.lockNames() == [])
    }

    @Test func allDriversCommitTheSameDigest() throws {
        var digests: Set<Digest> = []
        for driver in Self.drivers {
            let fixture = try Fixture(driver)
            let store = try fixture.open()
            let held = try container(store, try TestImage.sample(), driver)
            let tree = try store.mount(held, .readWrite)
            try Files.unlink("link", below: tree.root.raw)
            // All that a write would stamp with the present is what it was.
            let file = try Files.open("etc/group", below: tree.root.raw, O_WRONLY)
            try Files.writeAll(Array("WHEEL".utf8), to: file.raw)
            try setTime("etc/group", 5, in: tree)
            try setTime("", 6, in: tree)
            digests.insert(try store.commit(held.id) { _, _ in }.diffID)
        }
        #expect(digests.count == 1)
    }

    @Test(arguments: drivers, Faults.Point.allCases.filter { $0 != .prepare && $0 != .remove })
    func aFailedCommitLeavesNothing(_ driver: String, _ point: Faults.Point) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let held = try container(store, try TestImage.sample(), driver)
        try write("new", "1", in: try store.mount(held, .readWrite))
        let before = try store.driver(driver).list().count
        for kill in [false, true] {
            fixture.faults.arm(point, kill: kill)
            #expect(throws: Faults.Injected.self) { try store.commit(held.id) { _, _ in } }
            fixture.faults.disarm()
            if kill { #expect(try fixture.open().recover().failures == []) }
            #expect(try store.driver(driver).list().count == before)
            #expect(try store.layers().count == before)
        }
        _ = try store.commit(held.id) { _, _ in }
        #expect(try store.layers().count == before + 1)
    }

    // MARK: - From driver to driver

    @Test func aCommittedLayerIsCopiedToAnotherDriver() throws {
        guard Self.drivers.count > 1 else { return }
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        let held = try container(store, image, "overlay2")
        let tree = try store.mount(held, .readWrite)
        try write("etc/passwd", "changed", in: tree)
        try Files.unlink("link", below: tree.root.raw)
        let committed = try store.commit(held.id) { _, _ in }
        let noBlob = LayerSource(
            diffID: committed.diffID,
            chainID: committed.chainID,
            size: nil,
            open: { throw StorageError(.notFound, "no blob") }
        )
        let chain = try store.materialise(image.sources + [noBlob], driver: "vfs")
        let made = try store.mountReadOnly(chain, driver: "vfs")
        #expect(try text("etc/passwd", in: made) == "changed")
        #expect(try Files.status("link", below: made.root.raw) == nil)
        #expect(try store.drivers(having: committed.chainID) == ["overlay2", "vfs"])
    }

    @Test func aDamagedCopyIsNotCopied() throws {
        guard Self.drivers.count > 1 else { return }
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        let held = try container(store, image, "overlay2")
        try write("new", "1", in: try store.mount(held, .readWrite))
        let committed = try store.commit(held.id) { _, _ in }
        let path = "drivers/overlay2/layers/\(try unwrap(committed.chain.top))/new"
        try Files.replace(fixture.rootPath.appending(path), with: [0], durable: false)
        let noBlob = LayerSource(
            diffID: committed.diffID,
            chainID: committed.chainID,
            size: nil,
            open: { throw StorageError(.notFound, "no blob") }
        )
        let error = storageError { try store.materialise(image.sources + [noBlob], driver: "vfs") }
        #expect(error?.code == .corrupt)
        #expect(try store.layers().filter { $0.driver == "vfs" }.isEmpty)
    }
}
