// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
package import Storage
import SystemPackage

/// The life of a layer: made or unpacked, sealed, removed.
extension BtrfsDriver {
    package func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        try doing("make layer \(id) (btrfs)") {
            try make(id, over: parents, fromReserve: options.size == nil) { tree in
                if let size = options.size { try quota.limit(id, to: size, subvolume: tree) }
            }
        }
    }

    package func apply(
        _ source: any LayerEntrySource,
        to id: LayerID,
        over parents: LayerChain?
    ) throws -> Undecided {
        let parents = try required(parents, toUnpack: source.label)
        return try doing("unpack \(source.label) (btrfs)") {
            try make(id, over: parents, fromReserve: false) { tree in
                var applier = TreeApplier(root: tree, form: form, label: source.label)
                return try applier.apply(source)
            }
        }
    }

    /// Makes the subvolume and runs `body` on its root; leaves nothing behind if that fails.
    private func make<T>(
        _ id: LayerID,
        over parents: LayerChain,
        fromReserve: Bool,
        _ body: (CInt) throws -> T
    ) throws -> T {
        let parent = try parents.top.map { ($0, SharedFD(try open($0))) }
        do throws(SystemError) {
            if let (parent, source) = parent, fromReserve {
                try reserve.provide(id, over: parent, source.raw, below: layers.raw)
            } else if let (_, source) = parent {
                try Subvolume.snapshot(source.raw, as: id.rawValue, below: layers.raw)
            } else {
                try Subvolume.create(id.rawValue, below: layers.raw)
            }
        } catch {
            guard error.errno == .fileExists else { throw error }
            throw taken(id)
        }
        do {
            let tree = try Subvolume.open(id.rawValue, below: layers.raw)
            if parents.ids.isEmpty { try TreeCopier.makeEmptyRoot(tree.raw) }
            return try body(tree.raw)
        } catch {
            // The first failure is the one to report; what stays is garbage that no row names.
            try? remove(id)
            throw error
        }
    }

    func taken(_ id: LayerID) -> StorageError {
        StorageError(.exists, "make layer \(id): storage driver btrfs has a layer of that name")
    }

    package func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws {
        try doing("seal layer \(id) (btrfs)") {
            let tree = try open(id)
            if try Subvolume.isReadOnly(tree.raw) { return }
            try makeNestedPlain(in: tree.raw)
            try Subvolume.makeReadOnly(tree.raw)
        }
    }

    /// Puts directories in the place of subvolumes that were made in the layer: a snapshot would show them empty.
    private func makeNestedPlain(in tree: CInt) throws {
        let nested = try Subvolume.nested(in: Subvolume.info(tree).id, on: tree)
        if nested.isEmpty { return }
        // What the search sees lacks what was done last.
        try Files.syncFileSystem(of: tree)
        let names = InodeNames(in: tree)
        for subvolume in nested {
            guard let path = try names.path(ofDirectory: subvolume.directory) else { continue }
            let directory = try Files.openBeneath(path, in: tree, O_RDONLY | O_DIRECTORY)
            let time = try Files.status(of: directory.raw).mtime
            let source = try Files.openDirectory(subvolume.name, below: directory.raw)
            try makeNestedPlain(in: source.raw)
            let name = TreePath(bytes: Array(".strata-\(UInt64.random(in: 0...UInt64.max))".utf8))
            try Files.makeDirectory(name, below: directory.raw)
            let target = try Files.openDirectory(name, below: directory.raw)
            try TreeCopier.copy(from: source.raw, to: target.raw)
            try Files.rename(
                subvolume.name,
                below: directory.raw,
                to: name,
                below: directory.raw,
                flags: CLINUX_RENAME_EXCHANGE
            )
            try Subvolume.delete(name.printable, below: directory.raw)
            try system("futimens") {
                clinux_utimensat(directory.raw, "", time.seconds, time.nanoseconds, 0)
            }
        }
    }

    // MARK: - Removing

    package func remove(_ id: LayerID) throws {
        try doing("remove layer \(id) (btrfs)") {
            try reserve.remove(id)
            do throws(SystemError) {
                try Subvolume.deleteAlone(id.rawValue, below: layers.raw)
            } catch {
                // Subvolumes in it take longer, and what is no subvolume at all too.
                switch error.errno {
                case .directoryNotEmpty, .invalidArgument, .notDirectory, .notPermitted, .resourceBusy:
                    let name = temporaryName(Self.removed, id)
                    try Files.rename(id.rawValue, below: layers.raw, to: name, below: layers.raw)
                default: throw error
                }
            }
        }
    }

    package func emptyTrash(shouldStop: () -> Bool) throws {
        try doing("empty the trash of storage driver btrfs") {
            var failure: SystemError?
            for entry in try Files.list(layers.raw) where LayerID(entry.name.printable) == nil {
                if shouldStop() { return }
                do throws(SystemError) { try discard(entry) } catch { failure = failure ?? error }
            }
            func isLayer(_ id: LayerID) throws(SystemError) -> Bool {
                try Files.status(id.rawValue, below: layers.raw) != nil
            }
            do throws(SystemError) { try reserve.sweep(isLayer) } catch { failure = failure ?? error }
            try quota.sweep(isLayer)
            if let failure { throw failure }
        }
    }

    /// Deletes what is no layer and tells nothing of one, unless somebody is using it.
    private func discard(_ entry: DirectoryEntry) throws(SystemError) {
        let name = entry.name.printable
        if let id = Lineage.layer(ofRecord: name) {
            if try Files.status(id.rawValue, below: layers.raw) == nil {
                try Files.unlink(name, below: layers.raw)
            }
            return
        }
        guard let opened = try? Subvolume.open(name, below: layers.raw) else {
            return try Files.removeTree(entry.name, below: layers.raw)
        }
        let taken = try systemAnswer("flock", name, expecting: .wouldBlock) {
            clinux_flock(opened.raw, LOCK_EX | LOCK_NB)
        }
        if taken == nil { return }
        if let id = Self.removedLayer(name) { try quota.lift(id) }
        try Subvolume.delete(name, below: layers.raw)
    }

    /// The layer that was removed under this name.
    private static func removedLayer(_ name: String) -> LayerID? {
        let parts = name.split(separator: ".")
        return parts.count == 3 && parts[0] == removed ? LayerID(String(parts[1])) : nil
    }

    private static let removed = "removed"
}
