// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerStore
import LinuxSys
package import Storage
import StoreRoot
import Supervisor
package import SystemPackage

/// Layers in the caller's mount table: `strata layer mount`.
///
/// A mount is recorded at `<run>/mounts/<layer>`; its holder keeps the lock `mount.<layer>` and the layer's own: shared
/// for a sealed layer, on which others may go on building.
extension Engine {
    /// Attaches a layer's tree at a directory, for as long as `unmountLayer` does not take it away.
    ///
    /// Set-user-ID bits and devices of the tree have no effect there, since what an image brings is not to be trusted.
    ///
    /// - Parameter isReadOnly: as sealed layers are in any case.
    /// - Returns: where it stands, as an absolute path.
    package func mountLayer(_ text: String, at directory: FilePath, isReadOnly: Bool) throws -> FilePath {
        let id = try layerID(text)
        let (place, target) = try Self.mountTarget(directory, for: id)
        guard let claim = try root.lock(Self.mountLock(id), .exclusive, wait: false) else {
            let other = try mountPoint(of: id).map { "mounted at \($0)" } ?? "being mounted"
            throw EngineError(
                .conflict,
                "cannot mount layer \(id): it is \(other): strata layer unmount \(id)"
            )
        }
        do {
            try attach(id, at: place, target, claim.fd.raw, isReadOnly: isReadOnly)
        } catch {
            // The mount may stand: its holder may have been killed before it said so.
            do { try recoverMount(of: id) } catch { options.warn("\(error)") }
            root.removeLock(Self.mountLock(id))
            throw error
        }
        return place
    }

    private func attach(
        _ id: LayerID,
        at place: FilePath,
        _ target: SharedFD,
        _ claim: CInt,
        isReadOnly: Bool
    ) throws {
        // One that is sealed already stays so; one that is sealed meanwhile was not ours to lock.
        let row = try layers.layer(id)
        guard let layer = try holdLayer(id, row.isSealed ? .shared : .exclusive) else {
            throw EngineError(.conflict, "cannot mount layer \(id): it is in use")
        }
        let writes = try !layers.layer(id).isSealed && !isReadOnly
        let mounted = try layers.mount(layer, writes ? .readWrite : .readOnly)
        let companion = mounted.companion
        let tree = SharedFD(try mounted.asDetachedMount())
        let run = mountRunPath(id)
        try doing("mount layer \(id) at \(place)") {
            var attributes: DetachedMount.Attributes = [.noSetUID, .noDevices]
            if !writes { attributes.insert(.readOnly) }
            try DetachedMount.set(attributes, on: tree.raw)
            try Files.makeDirectories(run)
            let job = MountJob(
                runDirectory: run,
                place: place,
                mount: tree.raw,
                target: target.raw,
                lockFile: root.locksPath.appending(Self.mountLock(id)),
                held: [claim, layer.lock.fd.raw] + (companion.map { [$0.raw] } ?? [])
            )
            do {
                _ = try SupervisorStart.start(try Programs.supervisor(), job)
            } catch let error as StartFailure {
                throw EngineError(.failed, "cannot mount layer \(id) at \(place): \(error)")
            }
        }
    }

    /// The directory that something is to be mounted on: an empty one, so that nothing is hidden.
    private static func mountTarget(_ path: FilePath, for id: LayerID) throws -> (FilePath, SharedFD) {
        func refuse(_ reason: String) -> EngineError {
            EngineError(.usage, "cannot mount layer \(id) at \(path): \(reason)")
        }
        guard let resolved = path.withCPath({ realpath($0, nil) }) else {
            throw refuse("there is no such directory: mkdir \(path)")
        }
        defer { free(resolved) }
        let place = FilePath(platformString: resolved)
        guard try doing("look at \(place)", { try Files.status(place) })?.kind == .directory else {
            throw refuse("it is not a directory")
        }
        let directory = SharedFD(try doing("open \(place)") { try Files.openDirectory(place) })
        guard try doing("list \(place)", { try Files.list(directory.raw) }).isEmpty else {
            throw refuse("it is not empty, and what it holds would be hidden: give an empty directory")
        }
        return (place, directory)
    }

    /// Takes away the mount that a user names by its layer or its directory.
    package func unmountLayer(_ text: String) throws {
        guard let id = try mountedLayer(text) else {
            let what =
                LayerID(text) == nil ? "no layer is mounted at \(text)" : "layer \(text) is not mounted"
            throw EngineError(.notFound, "cannot unmount \(text): \(what)")
        }
        let connection = try doing("reach the holder of layer \(id)") {
            try ControlConnection.connect(mountRunPath(id))
        }
        guard let connection else {
            return recoverMounts()  // killed this moment
        }
        do {
            try connection.request(.unmount)
        } catch let error as StartFailure {
            // It may have ended by itself: somebody else has unmounted it.
            if try mountPoint(of: id) == nil { return }
            throw EngineError(.conflict, "cannot unmount layer \(id): \(error)")
        }
    }

    private func mountedLayer(_ text: String) throws -> LayerID? {
        if let id = LayerID(text), try mountPoint(of: id) != nil { return id }
        guard let resolved = FilePath(text).withCPath({ realpath($0, nil) }) else { return nil }
        defer { free(resolved) }
        let place = FilePath(platformString: resolved)
        return try mountRecords().first { try mountPoint(of: $0) == place }
    }

    /// Where `layer mount` has put the layer; `nil` if it is not mounted.
    package func mountPoint(of id: LayerID) throws -> FilePath? {
        try doing("look for a mount of layer \(id)") {
            guard let record = try MountRecord.read(mountRunPath(id)) else { return nil }
            return try root.isHeld(Self.mountLock(id)) ? record.place : nil
        }
    }

    /// Clears up after holders that were killed: their mounts still stand, but nothing holds the layer.
    ///
    /// Cost where nothing is mounted: one look for a directory.
    func recoverMounts() {
        do {
            for id in try mountRecords() {
                guard let lock = try root.lock(Self.mountLock(id), .exclusive, wait: false) else { continue }
                defer { withExtendedLifetime(lock) {} }
                try recoverMount(of: id)
                root.removeLock(Self.mountLock(id))
            }
        } catch {
            options.warn("clear up mounts of layers whose holder was killed: \(error)")
        }
    }

    private func recoverMount(of id: LayerID) throws {
        try doing("clear up the mount of layer \(id), whose holder was killed") {
            let run = mountRunPath(id)
            if let record = try MountRecord.read(run),
                // Mount ids are used again; one that stands elsewhere is another mount.
                try MountTable.entries().contains(where: {
                    $0.id == record.mountID && $0.place == record.place
                })
            {
                try MountTable.unmount(record.place, isLazy: true)
                options.warn("layer \(id) was still mounted at \(record.place), its holder killed: unmounted")
            }
            try Files.removeTree(run)
        }
    }

    /// The layers that are mounted, or were when their holder was killed.
    private func mountRecords() throws -> [LayerID] {
        try doing("list the mounts of layers") {
            guard try Files.status(root.mountsPath) != nil else { return [] }
            let directory = try Files.openDirectory(root.mountsPath)
            return try Files.list(directory.raw).compactMap { LayerID($0.name.printable) }
        }
    }

    private func mountRunPath(_ id: LayerID) -> FilePath { root.mountsPath.appending(id.rawValue) }
    private static func mountLock(_ id: LayerID) -> String { "mount.\(id)" }
}
