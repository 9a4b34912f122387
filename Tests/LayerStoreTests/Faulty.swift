// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage
import Synchronization
import SystemPackage

/// What goes wrong, and when, with the drivers of one fixture.
final class Faults: Sendable {
    enum Point: String, Sendable, CaseIterable {
        case prepare, beforeApply, withinApply, afterApply, beforeSeal, afterSeal, beforeSync, afterSync,
            remove
    }

    struct Injected: Error {
        var point: Point
    }

    private struct State {
        var point: Point?
        /// How often the point is passed before.
        var passes = 0
        /// From the fault on nothing works any more, as if the process had been killed.
        var isKill = false
        var isDead = false
    }

    private let state = Mutex(State())

    /// By the `drivers` directory of the store.
    static let registry = Mutex<[String: Faults]>([:])

    func arm(_ point: Point, after passes: Int = 0, kill: Bool = false) {
        state.withLock { $0 = State(point: point, passes: passes, isKill: kill) }
    }

    /// The next process: nothing is wrong.
    func disarm() { state.withLock { $0 = State() } }

    /// Dead from now on.
    func kill() { state.withLock { $0.isDead = true } }

    func pass(_ point: Point) throws {
        try state.withLock { state in
            if state.isDead { throw Injected(point: point) }
            guard state.point == point else { return }
            if state.passes > 0 {
                state.passes -= 1
                return
            }
            if state.isKill { state.isDead = true } else { state.point = nil }
            throw Injected(point: point)
        }
    }
}

/// A real driver that fails where `Faults` says so.
struct Faulty<Inner: StorageDriver>: StorageDriver {
    static var name: String { Inner.name }

    private let inner: Inner
    private let faults: Faults

    static func probe(home: FilePath) -> ProbeResult { Inner.probe(home: home) }

    init(home: FilePath, options: [String: String]) throws {
        inner = try Inner(home: home, options: options)
        faults = Faults.registry.withLock { $0[home.removingLastComponent().string] } ?? Faults()
    }

    var appliesOverParent: Bool { inner.appliesOverParent }

    func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        try faults.pass(.prepare)
        try inner.prepare(id, over: parents, options: options)
    }

    func apply(_ source: any LayerEntrySource, to id: LayerID, over parents: LayerChain?) throws -> Undecided
    {
        try faults.pass(.beforeApply)
        let undecided = try inner.apply(FaultySource(source, faults), to: id, over: parents)
        try faults.pass(.afterApply)
        return undecided
    }

    func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws {
        try faults.pass(.beforeSeal)
        try inner.seal(id, over: parents, undecided: undecided)
        try faults.pass(.afterSeal)
    }

    func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer {
        try inner.mount(id, over: parents, access: access)
    }

    func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try inner.changes(id, over: parents)
    }

    func remove(_ id: LayerID) throws {
        try faults.pass(.remove)
        try inner.remove(id)
    }

    func emptyTrash(shouldStop: () -> Bool) throws { try inner.emptyTrash(shouldStop: shouldStop) }

    func list() throws -> [LayerID] { try inner.list() }

    func holds(_ id: LayerID) throws -> Bool { try inner.holds(id) }

    func usage(_ id: LayerID) throws -> LayerUsage { try inner.usage(id) }

    func status() throws -> [(name: String, value: String)] { try inner.status() }

    func sync() throws {
        try faults.pass(.beforeSync)
        try inner.sync()
        try faults.pass(.afterSync)
    }
}

extension Faulty: LayerSnapshotting where Inner: LayerSnapshotting {
    func snapshot(
        _ source: LayerID,
        over parents: LayerChain,
        as id: LayerID,
        over base: LayerChain,
        isFinal: Bool
    ) throws -> ChangeSet? {
        try faults.pass(.beforeApply)
        let changes = try inner.snapshot(source, over: parents, as: id, over: base, isFinal: isFinal)
        try faults.pass(.withinApply)
        try faults.pass(.afterApply)
        return changes
    }
}

private final class FaultySource: LayerEntrySource {
    private let inner: any LayerEntrySource
    private let faults: Faults
    private var count = 0

    init(_ inner: any LayerEntrySource, _ faults: Faults) {
        self.inner = inner
        self.faults = faults
    }

    var label: String { inner.label }

    func next() throws -> LayerEntry? {
        count += 1
        if count > 1 { try faults.pass(.withinApply) }
        return try inner.next()
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try inner.readContent(body) }

    func writeContent(to file: CInt) throws { try inner.writeContent(to: file) }
}
