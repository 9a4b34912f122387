// SPDX-License-Identifier: Apache-2.0

import DriverCatalog
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import SystemPackage
import Testing

/// Which driver a store takes when a command names none.
///
/// The drivers here only answer a probe.
struct DriverChoiceTests {
    private struct Works: ProbeOnly {
        static let name = "works"
        static func probe(home: FilePath) -> ProbeResult { .works(detail: "") }
    }

    private struct Never: ProbeOnly {
        static let name = "never"
        static func probe(home: FilePath) -> ProbeResult { .unavailable(reason: "not here", remedy: nil) }
    }

    private struct Broken: ProbeOnly {
        static let name = "broken"
        static func probe(home: FilePath) -> ProbeResult { .failed(StorageError(.system, "it broke")) }
    }

    private func entries(_ types: any StorageDriver.Type...) -> [DriverEntry] {
        types.map { DriverEntry($0, summary: "") }
    }

    @Test func theFirstThatWorksIsKept() throws {
        let fixture = try Fixture()
        #expect(try fixture.open(entries(Never.self, Works.self)).defaultDriver() == "works")
        #expect(try fixture.open(entries(Broken.self)).defaultDriver() == "works")
        #expect(fixture.warnings.withLock { $0 } == [])
    }

    @Test func aBrokenDriverStopsTheChoice() throws {
        let fixture = try Fixture()
        let store = try fixture.open(entries(Broken.self, Works.self))
        #expect(storageError { try store.defaultDriver() }?.message == "it broke")
    }

    @Test func aLastResortComesLastAndWarns() throws {
        let fixture = try Fixture()
        let last = DriverEntry(Works.self, isLastResort: true, summary: "")
        #expect(try fixture.open([last] + entries(Never.self)).defaultDriver() == "works")
        #expect(fixture.warnings.withLock { $0 }.count == 1)
    }

    @Test func whereNothingWorksItSaysWhy() throws {
        let fixture = try Fixture()
        let error = storageError { try fixture.open(entries(Never.self)).defaultDriver() }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains("not here") == true)
    }

    @Test func aDriverThatCannotWorkHereLeavesNoHome() throws {
        let fixture = try Fixture()
        let store = try fixture.open(entries(Never.self, Broken.self))
        let error = storageError { try store.driver("never") }
        #expect(error?.code == .unsupported && error?.message.contains("not here") == true)
        #expect(storageError { try store.driver("broken") }?.message == "it broke")
        #expect(try store.driversWithState() == [])
    }

    @Test func theCatalogHasItsDriversInOrder() {
        let names = DriverCatalog.entries.map(\.name)
        let all = ["overlay2", "btrfs", "devicemapper", "unionfs", "vfs"]
        #expect(names == all.filter { names.contains($0) })
        // What is known to have advice is asked for it.
        for entry in DriverCatalog.entries {
            #expect((entry.advice != nil) == (entry.type is any Advising.Type), "\(entry.name)")
        }
        #expect(DriverCatalog.entries.filter(\.isLastResort).map(\.name) == names.filter { $0 == "vfs" })
    }

    @Test func namesAndOptionsOfNoDriverAreRefused() throws {
        let fixture = try Fixture()
        #expect(storageError { try fixture.open().driver("zfs") }?.code == .notFound)
        for key in ["size", "zfs.size", "overlay2"] {
            #expect(storageError { try fixture.open(options: [key: "1"]) }?.code == .invalid)
        }
        let store = try fixture.open(options: ["overlay2.nonsense": "1"])
        #expect(storageError { try store.driver("overlay2") }?.code == .invalid)
    }
}

private protocol ProbeOnly: StorageDriver {}

extension ProbeOnly {
    private func no() -> StorageError { StorageError(.unsupported, "it only answers a probe") }

    init(home: FilePath, options: [String: String]) throws {
        throw StorageError(.unsupported, "it only answers a probe")
    }

    var appliesOverParent: Bool { false }
    func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws { throw no() }
    func apply(_ source: any LayerEntrySource, to id: LayerID, over parents: LayerChain?) throws -> Undecided
    {
        throw no()
    }
    func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws { throw no() }
    func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        throw no()
    }
    func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet { throw no() }
    func remove(_ id: LayerID) throws { throw no() }
    func emptyTrash(shouldStop: () -> Bool) throws { throw no() }
    func list() throws -> [LayerID] { throw no() }
    func holds(_ id: LayerID) throws -> Bool { throw no() }
    func usage(_ id: LayerID) throws -> LayerUsage { throw no() }
    func status() throws -> [(name: String, value: String)] { throw no() }
    func sync() throws { throw no() }
}
