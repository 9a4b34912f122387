// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import TestGates
import Testing

@Suite(.requires(.root, .overlay))
struct MaterialiseTests {
    @Test func layersAreUnpackedOnceAndRead() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let store = try fixture.open()
        let steps = Mutex<[LayerProgress.Step]>([])
        let chain = try store.materialise(
            image.sources,
            driver: "overlay2",
            progress: { event in steps.withLock { $0.append(event.step) } }
        )
        #expect(chain.ids.count == 3)
        #expect(steps.withLock { $0 }.filter { $0 == .unpacked }.count == 3)
        #expect(try store.chain(of: image.chainID, driver: "overlay2") == chain)
        let tree = try store.mountReadOnly(chain, driver: "overlay2")
        #expect(try text("etc/passwd", in: tree) == "root")
        #expect(try text("gone", in: tree) == nil)
        #expect(try Files.status("tmp", below: tree.root.raw)?.mode == 0o1777)
        #expect(try fixture.lockNames() == [])

        let again = try fixture.open().materialise(image.sources, driver: "overlay2")
        #expect(again == chain)
        #expect(image.layers.map(\.opened.count) == [1, 1, 1])
    }

    @Test func theLayersOfAnImageAreFoundByItsRows() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let store = try fixture.open()
        let config = try unwrap(Digest("sha256:" + String(repeating: "a", count: 64)))
        #expect(try store.chain(ofImage: config, driver: "overlay2") == LayerChain())
        try store.root.database.transaction(durable: false) { transaction in
            for (position, source) in image.sources.enumerated() {
                try transaction.run(
                    "INSERT INTO image_layers (image, position, diff_id, chain_id) VALUES (?, ?, ?, ?)",
                    [
                        .text("\(config)"), .integer(Int64(position)), .text("\(source.diffID)"),
                        .text("\(source.chainID)"),
                    ]
                )
            }
        }
        #expect(try store.chain(ofImage: config, driver: "overlay2") == nil)
        let chain = try store.materialise(image.sources, driver: "overlay2")
        #expect(try store.chain(ofImage: config, driver: "overlay2") == chain)
        #expect(try store.chain(ofImage: config, driver: "vfs") == nil)
        try store.root.database.transaction(durable: false) {
            try $0.run("UPDATE layers SET sealed = 0 WHERE id = ?", [.text(chain.ids[1].rawValue)])
        }
        #expect(try store.chain(ofImage: config, driver: "overlay2") == nil)
    }

    @Test func rowsTellParentSizeAndDigests() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let store = try fixture.open()
        let chain = try store.materialise(image.sources, driver: "overlay2")
        let rows = try store.ancestry(of: #require(chain.top))
        #expect(rows.map(\.id) == chain.ids)
        #expect(rows.map(\.parent) == [nil, chain.ids[0], chain.ids[1]])
        #expect(rows.map(\.diffID) == image.layers.map(\.diffID))
        #expect(rows.map(\.size) == [5, 3, 5])
    }

    @Test func imagesShareTheirCommonLayers() throws {
        let fixture = try Fixture()
        var other = try TestImage.sample()
        let image = other
        other.layers[2] = try TarLayer([file("other", "1")])
        let store = try fixture.open()
        let first = try store.materialise(image.sources, driver: "overlay2")
        let second = try store.materialise(other.sources, driver: "overlay2")
        #expect(first.ids.prefix(2) == second.ids.prefix(2))
        #expect(first.top != second.top)
        #expect(try store.layers().count == 4)
    }

    @Test func anImageWithoutLayersIsAnEmptyChain() throws {
        let fixture = try Fixture()
        var recorded = false
        let chain = try fixture.open().materialise([], driver: "overlay2", record: { _ in recorded = true })
        #expect(chain.ids.isEmpty && recorded)
    }

    @Test func manyAtOnceUnpackEachLayerOnce() async throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let chains = try await withThrowingTaskGroup(of: LayerChain.self) { group in
            for _ in 0..<8 {
                group.addTask { try fixture.open().materialise(image.sources, driver: "overlay2") }
            }
            return try await group.reduce(into: Set<LayerChain>()) { $0.insert($1) }
        }
        #expect(chains.count == 1)
        #expect(image.layers.map(\.opened.count) == [1, 1, 1])
        #expect(try fixture.lockNames() == [])
        #expect(try fixture.leftOvers().count == 3)
    }

    @Test func aBadLayerStopsAllAndLeavesNothing() throws {
        let fixture = try Fixture()
        var image = try TestImage.sample()
        image.layers[1].bytes[700] ^= 0xFF
        let store = try fixture.open()
        #expect(storageError { try store.materialise(image.sources, driver: "overlay2") } != nil)
        #expect(try store.layers().isEmpty)
        try emptyTrash(store)
        #expect(try fixture.leftOvers() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test func aWrongDigestIsCorrupt() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let wrong = image.layers[1]
        var sources = image.sources
        sources[0].open = { try wrong.stream() }
        let store = try fixture.open()
        #expect(storageError { try store.materialise(sources, driver: "overlay2") }?.code == .corrupt)
        #expect(try store.layers().isEmpty)
    }

    @Test func withoutABlobAndWithoutACopyItSaysSo() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let error = storageError { try fixture.open().materialise(image.bare, driver: "overlay2") }
        #expect(error?.code == .notFound)
        #expect(try fixture.lockNames() == [])
    }

    @Test func cancellingEndsIt() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let store = try fixture.open()
        let error = storageError {
            try store.materialise(image.sources, driver: "overlay2", cancelled: { true })
        }
        #expect(error?.code == .interrupted)
        try emptyTrash(store)
        #expect(try fixture.leftOvers() == [])
    }

    @Test(arguments: Faults.Point.allCases.filter { $0 != .prepare && $0 != .remove }, [0, 1])
    func anErrorAnywhereLeavesNothing(_ point: Faults.Point, _ passes: Int) throws {
        if passes > 0, point == .beforeSync || point == .afterSync { return }
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let store = try fixture.open()
        fixture.faults.arm(point, after: passes)
        #expect(throws: Faults.Injected.self) { try store.materialise(image.sources, driver: "overlay2") }
        #expect(try store.layers().isEmpty)
        try emptyTrash(store)
        #expect(try fixture.leftOvers() == [])
        #expect(try fixture.lockNames() == [])
        #expect(try store.materialise(image.sources, driver: "overlay2").ids.count == 3)
    }

    @Test(arguments: Faults.Point.allCases.filter { $0 != .prepare && $0 != .remove })
    func aKillAnywhereIsRecovered(_ point: Faults.Point) throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        fixture.faults.arm(point, kill: true)
        #expect(throws: Faults.Injected.self) {
            try fixture.open().materialise(image.sources, driver: "overlay2")
        }
        fixture.faults.disarm()
        let store = try fixture.open()
        #expect(try store.layers().isEmpty)
        let report = store.recover()
        #expect(report.failures == [])
        #expect(try fixture.leftOvers() == [])
        #expect(try fixture.lockNames() == [])
        #expect(try store.materialise(image.sources, driver: "overlay2").ids.count == 3)
    }

    @Test func aKillBeforeTheRowsIsRecovered() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        struct Stop: Error {}
        let store = try fixture.open()
        #expect(throws: Stop.self) {
            try store.materialise(
                image.sources,
                driver: "overlay2",
                record: { _ in
                    fixture.faults.kill()
                    throw Stop()
                }
            )
        }
        fixture.faults.disarm()
        #expect(try fixture.leftOvers().count == 3)
        #expect(try fixture.open().recover().layers.count == 3)
        #expect(try fixture.leftOvers() == [])
    }

    @Test func recoveryLeavesAloneWhatIsBeingMade() throws {
        let fixture = try Fixture()
        let image = try TestImage.sample()
        let seen = Mutex<[SweepReport]>([])
        let chain = try fixture.open().materialise(image.sources, driver: "overlay2") { event in
            // Another process sweeps while layers lie there without a row.
            if event.step == .unpacked { sweep(fixture, into: seen) }
        }
        #expect(seen.withLock { $0 }.map(\.layers.count) == [0, 0, 0])
        let tree = try fixture.open().mountReadOnly(chain, driver: "overlay2")
        #expect(try text("etc/passwd", in: tree) == "root")
    }

    private func sweep(_ fixture: Fixture, into seen: borrowing Mutex<[SweepReport]>) {
        guard let report = try? fixture.open().recover() else { return }
        seen.withLock { $0.append(report) }
    }

    private func emptyTrash(_ store: LayerStore) throws {
        var report = SweepReport()
        store.emptyTrash(&report)
        #expect(report.failures == [])
    }
}
