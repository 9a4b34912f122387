// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import TestGates
import Testing

@Suite(.requires(.root, .overlay))
struct PlainLayerTests {
    /// A program that another test starts at this moment holds copies of our locks until it runs.
    private func whenFree<T>(_ body: () throws -> T) throws -> T {
        for _ in 0..<6000 {
            do { return try body() } catch let error as StorageError where error.code == .inUse {
                usleep(10_000)
            }
        }
        return try body()
    }

    @Test(arguments: ContainerTests.drivers)
    func layersAreMadeSealedStackedAndRemoved(_ driver: String) throws {
        let fixture = try Fixture(driver)
        let store = try fixture.open()
        let base = try store.createPlain(over: nil, driver: driver)
        do {
            let held = try unwrap(try store.hold(base))
            try write("a", "1", in: try store.mount(held, .readWrite))
            #expect(storageError { try store.seal(base) }?.code == .inUse)
        }
        #expect(storageError { try store.createPlain(over: base, driver: driver) }?.code == .invalid)
        let digest = try whenFree { try store.seal(base) }
        #expect(storageError { try whenFree { try store.seal(base) } }?.code == .invalid)
        #expect(try store.layer(base).diffID == digest)
        let tar = try TarLayer([file("b", "2"), whiteout("a")])
        let stream = try tar.stream()
        let top = try store.applyPlain(stream, over: base, driver: driver) { try stream.finish().diffID }
        let tree = try store.mountReadOnly(try store.chain(top), driver: driver)
        #expect(try text("b", in: tree) == "2" && text("a", in: tree) == nil)
        #expect(storageError { try store.removePlain(base) }?.code == .inUse)
        #expect(store.prune().layers == [])
        try whenFree { try store.removePlain(top) }
        try whenFree { try store.removePlain(base) }
        #expect(try store.layers() == [] && store.driver(driver).list() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test func anApplyThatFailsLeavesNothing() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let tar = try TarLayer([file("b", "2")])
        fixture.faults.arm(.beforeSync)
        #expect(throws: Faults.Injected.self) {
            let stream = try tar.stream()
            _ = try store.applyPlain(stream, over: nil, driver: "overlay2") { try stream.finish().diffID }
        }
        #expect(try store.layers() == [] && store.driver("overlay2").list() == [])
        #expect(try fixture.lockNames() == [])
    }

    @Test func layersOfImagesAreNotRemovedOneByOne() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let chain = try store.materialise(try TestImage.sample().sources, driver: "overlay2")
        #expect(storageError { try store.removePlain(try unwrap(chain.top)) }?.code == .invalid)
        #expect(storageError { try store.removePlain(LayerID.random()) }?.code == .notFound)
    }
}

/// Everything at once, as several processes do it: each thread has a store of its own.
@Suite(.requires(.root, .overlay))
struct MixedUseTests {
    private func round(_ fixture: Fixture, _ worker: Int, _ round: Int, _ images: [TestImage]) throws {
        let store = try fixture.open()
        let image = images[(worker + round) % images.count]
        let name = "image-\((worker + round) % images.count)"
        switch (worker &* 7 &+ round) % 4 {
        case 0:
            _ = store.prune()
        case 1:
            try store.root.database.transaction(durable: false) { try TestImage.forget(name, in: $0) }
            try store.removeUnused()
        default:
            let chain = try store.materialise(image.sources, driver: "overlay2") { _ in
            } cancelled: {
                false
            } record: {
                try image.record(name, in: $0)
            }
            let base = try store.initLayer(over: chain, driver: "overlay2") { _ in [] }
            let prepared = try store.prepare(over: base, driver: "overlay2")
            try store.root.database.transaction(durable: false) { transaction in
                try prepared.insertRow(in: transaction)
                try insertContainer("c-\(prepared.id)", layer: prepared.id, "overlay2", in: transaction)
            }
            let held = prepared.end()
            try write("file", "\(worker)-\(round)", in: try store.mount(held, .readWrite))
            _ = try store.commit(held.id) { _, _ in }
            try store.root.database.transaction(durable: false) { transaction in
                try transaction.run("DELETE FROM containers WHERE layer = ?", [.text(held.id.rawValue)])
                try store.deleteRow(held.id, in: transaction)
            }
            store.discard(held)
        }
    }

    @Test func eightThreadsMixOperations() async throws {
        let fixture = try Fixture()
        let images = try (0..<3).map { try TestImage.sample("\($0 % 2)-\($0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    for step in 0..<12 {
                        do {
                            try round(fixture, worker, step, images)
                        } catch let error as StorageError where error.code == .notFound {
                            // A plain conflict: what one builds on was removed by another in between.
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let store = try fixture.open()
        #expect(fixture.warnings.withLock { $0 } == [])
        let findings = try store.check(isRepairing: false) { diffID in
            try images.flatMap(\.layers).first { $0.diffID == diffID }?.stream()
        }
        #expect(findings.map(\.detail) == [])
        let names = try store.layers().map(\.id)
        #expect(Set(try store.driver("overlay2").list()) == Set(names))
        for index in images.indices {
            try store.root.database.transaction(durable: false) {
                try TestImage.forget("image-\(index)", in: $0)
            }
        }
        #expect(store.prune().failures == [])
        #expect(try fixture.leftOvers() == [])
        #expect(try fixture.lockNames() == [])
    }
}
