// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Glibc
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import BtrfsDriver

/// Snapshots that are made before somebody asks for them.
@Suite(.requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs")))
struct BtrfsReserveTests {
    private let home: FilePath
    private let driver: BtrfsDriver
    private let scratch: TemporaryDirectory

    init() throws {
        scratch = try TemporaryDirectory(below: LoopFileSystem.shared("btrfs").path)
        home = scratch.appending("home")
        driver = try BtrfsDriver(home: home, options: [:])
    }

    @Test func secondLayerMakesAReserveForTheNext() throws {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        let first = try prepare(over: base)
        #expect(try reserve(of: base).isEmpty)
        let second = try prepare(over: base)
        let snapshots = try reserve(of: base)
        #expect(snapshots.count == 7)
        var made: Set<[UInt8]> = []
        for number in 1...7 {
            let id = try prepare(over: base)
            try made.insert(info(id).uuid)
            #expect(try reserve(of: base).count == 7 - number)
            #expect(try driver.changes(id, over: LayerChain([base])).changes.isEmpty)
            #expect(try driver.usage(id).bytes == 0)
            try driver.change(id) { try write("more", "file", below: $0) }
            #expect(
                try driver.changes(id, over: LayerChain([base])).changes.map(\.line) == ["C /", "C /file"]
            )
        }
        #expect(made == Set(snapshots))
        #expect(try reserve(of: base).isEmpty)
        #expect(try !made.contains(info(prepare(over: base)).uuid))
        #expect(try reserve(of: base).count == 7)
        for id in [first, second] {
            #expect(try driver.changes(id, over: LayerChain([base])).changes.isEmpty)
        }
        #expect(try driver.list().count == 11)
    }

    @Test func goesWithTheParent() throws {
        _ = try filled()
        for id in try driver.list() { try driver.remove(id) }
        #expect(try Files.status(home.appending("reserve")) == nil)
        // What was left by somebody who was killed, or whose layer was deleted behind our back.
        let other = try filled()
        try Subvolume.delete(other.rawValue, below: driver.layers.raw)
        try driver.emptyTrash { false }
        #expect(try Files.status(home.appending("reserve")) == nil)
        #expect(try driver.list().count == 2)
    }

    /// A layer of that name which is another one, and snapshots that somebody wrote to.
    @Test func takesNothingThatIsNotAsNew() throws {
        let base = try filled()
        let other = try driver.sealedLayer { try write("another", "file", below: $0) }
        let slots = home.appending("reserve/\(base)")
        let directory = try Files.openDirectory(slots.appending("0/layer"))
        try write("foreign", "foreign", below: directory.raw)
        try Files.syncFileSystem(of: directory.raw)
        let id = try prepare(over: base)
        #expect(try driver.changes(id, over: LayerChain([base])).changes.isEmpty)
        #expect(try Files.status(home.appending("layers/\(id)/foreign")) == nil)
        #expect(try reserve(of: base).count == 5)

        try Files.rename(slots, to: home.appending("reserve/\(other)"))
        let another = try prepare(over: other)
        #expect(try driver.changes(another, over: LayerChain([other])).changes.isEmpty)
        #expect(try Files.contents(home.appending("layers/\(another)/file")) == Array("another".utf8))
        #expect(try reserve(of: other).count == 7)
    }

    @Test func takenNamesAreRefused() throws {
        let base = try filled()
        let id = try prepare(over: base)
        #expect {
            try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        } throws: {
            ($0 as? StorageError)?.code == .exists
        }
        #expect(try driver.list().contains(id))
        #expect(try reserve(of: base).count >= 6)
        #expect(try driver.changes(id, over: LayerChain([base])).changes.isEmpty)
    }

    /// Many at once, who take from the same reserve and fill it.
    @Test func manyAtOnce() async throws {
        let base = try filled()
        let driver = driver
        let made = try await withThrowingTaskGroup { group in
            for _ in 0..<24 {
                group.addTask {
                    let id = LayerID.random()
                    try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
                    return id
                }
            }
            return try await group.reduce(into: Set<LayerID>()) { $0.insert($1) }
        }
        #expect(made.count == 24)
        for id in made { #expect(try driver.changes(id, over: LayerChain([base])).changes.isEmpty) }
        #expect(try Set(made.map { try info($0).uuid }).count == 24)
    }

    // MARK: Helpers

    /// A sealed layer with a reserve.
    private func filled() throws -> LayerID {
        let base = try driver.sealedLayer { try write("one", "file", below: $0) }
        for _ in 0..<2 { _ = try prepare(over: base) }
        #expect(try reserve(of: base).count == 7)
        return base
    }

    private func prepare(over base: LayerID) throws -> LayerID {
        let id = LayerID.random()
        try driver.prepare(id, over: LayerChain([base]), options: LayerOptions())
        return id
    }

    private func info(_ id: LayerID) throws -> Subvolume.Info {
        let tree = try driver.open(id)
        return try Subvolume.info(tree.raw)
    }

    /// What distinguishes each snapshot that is there for a layer.
    private func reserve(of base: LayerID) throws -> [[UInt8]] {
        let directory = try Files.openDirectory(home.appending("reserve/\(base)"))
        return try Files.list(directory.raw).compactMap { slot in
            let slot = try Files.openDirectory(slot.name, below: directory.raw)
            guard try Files.status("layer", below: slot.raw) != nil else { return nil }
            let tree = try Subvolume.open("layer", below: slot.raw)
            return try Subvolume.info(tree.raw).uuid
        }
    }
}
