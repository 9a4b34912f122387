// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import SystemPackage
import TestGates
import Testing

@Suite(.requires(.root, .overlay))
struct PruneTests {
    private func load(_ store: LayerStore, _ image: TestImage, as id: String) throws -> LayerChain {
        try store.materialise(image.sources, driver: "overlay2", record: { try image.record(id, in: $0) })
    }

    private func forget(_ store: LayerStore, _ id: String) throws {
        try store.root.database.transaction(durable: false) { try TestImage.forget(id, in: $0) }
    }

    @Test func whatAnImageNamesStaysAndWhatNoneNamesGoes() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        var other = try TestImage.sample()
        let image = other
        other.layers[2] = try TarLayer([file("other", "1")])
        let first = try load(store, image, as: "one")
        let second = try load(store, other, as: "two")
        _ = try store.initLayer(over: first, driver: "overlay2") { _ in [] }
        #expect(store.prune().layers == [])
        #expect(try store.layers().count == 5)
        try forget(store, "one")
        #expect(store.prune(isDryRun: true).layers.count == 2)
        #expect(try store.layers().count == 5)
        let report = store.prune()
        #expect(report.layers.count == 2 && report.failures == [])
        #expect(Set(try store.layers().map(\.id)) == Set(second.ids))
        try forget(store, "two")
        #expect(store.prune().layers.count == 3)
        #expect(try fixture.leftOvers() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test func aContainerKeepsItsLayers() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let chain = try load(store, try TestImage.sample(), as: "one")
        let base = try store.initLayer(over: chain, driver: "overlay2") { _ in [] }
        let prepared = try store.prepare(over: base, driver: "overlay2")
        try store.root.database.transaction(durable: false) { try prepared.insertRow(in: $0) }
        let held = prepared.end()
        try forget(store, "one")
        #expect(store.prune().layers == [])
        try store.root.database.transaction(durable: false) { try store.deleteRow(held.id, in: $0) }
        store.discard(held)
        #expect(store.prune().layers.count == 4)
        #expect(try store.layers() == [])
    }

    @Test func whatSomebodyBuildsOnStays() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let chain = try load(store, try TestImage.sample(), as: "one")
        try forget(store, "one")
        do {
            let prepared = try store.prepare(over: chain, driver: "overlay2")
            #expect(try fixture.open().prune().layers == [])
            #expect(try store.layer(try unwrap(chain.top)).isSealed)
            withExtendedLifetime(prepared.held) {}
        }
        #expect(try fixture.open().prune().layers.count == 3)
        #expect(storageError { try store.prepare(over: chain, driver: "overlay2") }?.code == .notFound)
    }

    @Test func aLayerThatCannotBeRemovedStopsNothing() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        _ = try load(store, try TestImage.sample(), as: "one")
        try forget(store, "one")
        fixture.faults.arm(.remove)
        let report = try store.removeUnused()
        #expect(report.layers.count == 2 && report.failures.count == 1)
        #expect(try store.layers() == [])
        #expect(store.recover().layers.count == 1)
        #expect(try fixture.leftOvers() == [])
    }

    @Test func strayLocksAreSwept() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let held = try store.root.lock("overlay2.held", .exclusive)
        _ = try store.root.lock("overlay2.stray", .exclusive)
        let report = try fixture.open().recover()
        #expect(report.locks == 1)
        #expect(try fixture.lockNames() == ["overlay2.held"])
        withExtendedLifetime(held) {}
    }

    @Test func aLayerWithAChildIsNotRemoved() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let chain = try load(store, try TestImage.sample(), as: "one")
        let error = storageError {
            try store.root.database.transaction(durable: false) { try store.deleteRow(chain.ids[0], in: $0) }
        }
        #expect(error?.code == .inUse)
        #expect(try store.layers().count == 3)
    }

    @Test func theDiskUsageListsLayersAndWhatNothingNames() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let chain = try load(store, try TestImage.sample(), as: "one")
        let prepared = try store.prepare(over: chain, driver: "overlay2")
        let usage = try store.diskUsage()
        #expect(usage.count == 4)
        #expect(usage.filter { $0.row == nil }.map(\.id) == [prepared.id])
        #expect(usage.first { $0.id == chain.ids[0] }?.users == 1)
        #expect(usage.allSatisfy { $0.usage.inodes > 0 })
    }
}

@Suite(.requires(.root, .overlay))
struct CheckTests {
    private func blob(of image: TestImage) -> (Digest) throws -> LayerStream? {
        { diffID in try image.layers.first { $0.diffID == diffID }?.stream() }
    }

    private func layerPath(_ fixture: Fixture, _ id: LayerID, _ name: String) -> FilePath {
        fixture.rootPath.appending("drivers/overlay2/layers/\(id)").appending(name)
    }

    @Test func wholeLayersPassAndAreRecorded() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        _ = try store.materialise(image.sources, driver: "overlay2")
        #expect(try store.check(isRepairing: false, source: blob(of: image)).isEmpty)
        #expect(try store.layers().allSatisfy { $0.content != nil })
        // Recorded: no blob is needed any more.
        #expect(try store.check(isRepairing: false) { _ in nil }.isEmpty)
        #expect(
            try store.layers().count == 3 && fixture.leftOvers().filter { $0.hasPrefix("layers/") }.count == 3
        )
    }

    @Test func withoutRecordAndBlobNothingIsProven() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        _ = try store.materialise(try TestImage.sample().sources, driver: "overlay2")
        #expect(try store.check(isRepairing: false) { _ in nil }.map(\.problem).contains(.unverifiable))
    }

    @Test(arguments: [false, true])
    func aDamagedLayerIsFoundAndRepaired(_ isRecorded: Bool) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        let chain = try store.materialise(image.sources, driver: "overlay2")
        if isRecorded { _ = try store.check(isRepairing: false, source: blob(of: image)) }
        try Files.replace(layerPath(fixture, chain.ids[1], "tmp/inside"), with: [], durable: false)
        let found = try store.check(isRepairing: false, source: blob(of: image))
        #expect(found.first?.problem == .wrongContent && found.first?.layer == chain.ids[1])
        let repaired = try store.check(isRepairing: true, source: blob(of: image))
        #expect(repaired.map(\.isRepaired) == [true])
        #expect(try store.check(isRepairing: false, source: blob(of: image)).isEmpty)
        let now = try unwrap(try store.chain(of: image.chainID, driver: "overlay2"))
        #expect(now.ids[0] == chain.ids[0] && now.ids[1] != chain.ids[1] && now.ids[2] == chain.ids[2])
        let tree = try store.mountReadOnly(now, driver: "overlay2")
        #expect(try text("tmp/inside", in: tree) == "1")
    }

    @Test func aLayerWhoseDataIsGoneIsRepaired() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        let chain = try store.materialise(image.sources, driver: "overlay2")
        try store.driver("overlay2").remove(chain.ids[0])
        let findings = try store.check(isRepairing: true, source: blob(of: image))
        #expect(findings.map(\.problem) == [.missingData])
        #expect(findings.map(\.isRepaired) == [true])
        #expect(try store.check(isRepairing: false, source: blob(of: image)).isEmpty)
    }

    @Test func aLayerInUseIsNotTouched() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let image = try TestImage.sample()
        let chain = try store.materialise(image.sources, driver: "overlay2")
        let prepared = try store.prepare(over: chain, driver: "overlay2")
        try store.root.database.transaction(durable: false) { try prepared.insertRow(in: $0) }
        let held = prepared.end()
        try Files.replace(layerPath(fixture, chain.ids[0], "etc/passwd"), with: [], durable: false)
        let findings = try store.check(isRepairing: true, source: blob(of: image))
        #expect(findings.first?.problem == .wrongContent && findings.first?.isRepaired == false)
        #expect(try store.chain(of: image.chainID, driver: "overlay2") == chain)
        withExtendedLifetime(held) {}
    }

    @Test func unnamedDataIsNamedAndRemoved() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let id = LayerID.random()
        try store.driver("overlay2").prepare(id, over: LayerChain(), options: LayerOptions())
        #expect(try store.check(isRepairing: false) { _ in nil }.map(\.problem) == [.unnamedData])
        #expect(try store.check(isRepairing: true) { _ in nil }.map(\.isRepaired) == [true])
        #expect(try store.driver("overlay2").list() == [])
    }
}
