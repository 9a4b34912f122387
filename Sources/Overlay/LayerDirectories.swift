// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
package import LinuxSys
package import Storage
package import SystemPackage

/// A driver whose layers are directories that a union of layers stacks.
///
/// ```
/// <home>/layers/<id>    a layer's tree in the driver's form; a writable layer's is the upper directory
///        work/<id>      what the mount needs beside a writable layer; so a layer that has none is sealed
///        staging/<id>   being unpacked; a rename to layers/ makes it a layer
///        trash/<name>   being removed
/// ```
/// An id is in `layers/` or in `staging/`, never in both.
package protocol LayerDirectories: StorageDriver {
    associatedtype Form: TreeForm

    var home: FilePath { get }
    /// The open directory `layers`.
    var layers: SharedFD { get }
    var form: Form { get }

    /// The merged tree of layers, base first, read-only.
    func merge(_ ids: [LayerID]) throws -> SharedFD

    /// What an unpacked layer needs before it is sealed, for which `parent` gives the merged tree of the layers below.
    func finish(_ root: CInt, parent: () throws -> SharedFD?) throws
}

extension LayerDirectories {
    package func finish(_ root: CInt, parent: () throws -> SharedFD?) throws {}

    /// Opens `layers`, making what is missing of the home; it comes last, so where it is, all is.
    package static func openLayers(_ home: FilePath, besides more: [String] = []) throws -> OwnedFD {
        let path = home.appending("layers")
        if let layers = try? Files.openDirectory(path) { return layers }
        try Files.makeDirectories(home)
        let directory = try Files.openDirectory(home)
        for name in more { try Files.ensureDirectory(name, below: directory.raw, mode: 0o755) }
        for name in ["work", "staging", "trash", "layers"] {
            try Files.ensureDirectory(name, below: directory.raw, mode: 0o700)
        }
        return try Files.openDirectory(path)
    }

    /// The merged tree of `parents`, read-only; `nil` where there is none.
    package func view(of parents: LayerChain) throws -> SharedFD? {
        parents.ids.isEmpty ? nil : try merge(parents.ids)
    }

    /// Whether the layer is one that can be written to.
    package func isWritable(_ id: LayerID) throws -> Bool {
        try Files.status("../work/\(id)", below: layers.raw) != nil
    }

    package func list() throws -> [LayerID] {
        try doing("list layers of storage driver \(Self.name)") {
            var found: Set<LayerID> = []
            for directory in [".", "../staging", "../work"] {
                let directory = try Files.openDirectory(directory, below: layers.raw)
                for entry in try Files.list(directory.raw) {
                    if let id = LayerID(String(decoding: entry.name.bytes, as: UTF8.self)) {
                        found.insert(id)
                    }
                }
            }
            return Array(found)
        }
    }

    package func holds(_ id: LayerID) throws -> Bool {
        try doing("look for layer \(id) (\(Self.name))") {
            try [id.rawValue, "../staging/\(id)"].contains {
                try Files.status($0, below: layers.raw)?.kind == .directory
            }
        }
    }

    /// What `status` says of the home first.
    package func homeStatus() throws -> [(name: String, value: String)] {
        let type = try doing("ask \(home) for its type") { try Files.fileSystemType(layers.raw) }
        return [("Home", home.string), ("Backing filesystem", type)]
    }

    package func sync() throws {
        try doing("sync \(home)") { try Files.syncFileSystem(of: layers.raw) }
    }
}

/// The life of a layer: made or unpacked, sealed, removed.
extension LayerDirectories {
    package var appliesOverParent: Bool { false }

    package func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        if options.size != nil {
            throw StorageError(
                .unsupported,
                "make layer \(id) with a limit of size: storage driver \(Self.name) cannot enforce one",
                remedy: "leave the size out, or use another storage driver"
            )
        }
        try doing("make layer \(id) (\(Self.name))") {
            try checkAbsent(id, in: "../staging")
            try makeNew(id, in: ".")
            do {
                try Files.makeDirectory("../work/\(id)", below: layers.raw)
                try makeRoot(id, over: parents.top)
            } catch {
                try? discard(id)
                throw error
            }
        }
    }

    /// Gives the new upper the metadata of its parent's root, which it covers, so that `/` is no change.
    ///
    /// Over nothing, that is what an empty tree has: 0755, root's, of time 0.
    private func makeRoot(_ id: LayerID, over top: LayerID?) throws {
        let root = try Files.openDirectory(id.rawValue, below: layers.raw)
        var (mode, mtime) = (UInt32(0o755), Timestamp(seconds: 0))
        if let top {
            let parent = try Files.openDirectory(top.rawValue, below: layers.raw)
            let status = try Files.status(of: parent.raw)
            (mode, mtime) = (status.mode, status.mtime)
            if status.uid != 0 || status.gid != 0 {
                try system("fchown") { fchown(root.raw, status.uid, status.gid) }
            }
            for attribute in try form.stored(try form.attributes(of: parent.raw)) {
                try ExtendedAttributes.set(attribute, on: root.raw)
            }
        }
        try system("fchmod") { fchmod(root.raw, mode) }
        try system("futimens") { clinux_utimensat(root.raw, "", mtime.seconds, mtime.nanoseconds, 0) }
    }

    package func apply(
        _ source: any LayerEntrySource,
        to id: LayerID,
        over parents: LayerChain?
    ) throws -> Undecided {
        try unpack(source, to: id)
    }

    /// Writes the layer's entries to its staging directory, all or nothing.
    package func unpack(_ source: any LayerEntrySource, to id: LayerID) throws -> Undecided {
        let root: OwnedFD = try doing("unpack \(source.label) (\(Self.name))") {
            try checkAbsent(id, in: ".")
            try makeNew(id, in: "../staging")
            return try Files.openDirectory("../staging/\(id)", below: layers.raw)
        }
        do {
            var applier = TreeApplier(root: root.raw, form: form, label: source.label)
            return try applier.apply(source)
        } catch {
            try? discard(id)
            throw error
        }
    }

    package func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws {
        try doing("seal layer \(id) (\(Self.name))") {
            guard let staged = try Files.status("../staging/\(id)", below: layers.raw),
                staged.kind == .directory
            else {
                return try sealWritable(id)
            }
            let root = try Files.openDirectory("../staging/\(id)", below: layers.raw)
            try finish(root.raw) { try view(of: parents) }
            if !undecided.isEmpty {
                let parent = try parentTree(for: undecided, parents)
                try resolve(
                    undecided,
                    root: root.raw,
                    form: form,
                    parentRoot: parent?.root.raw,
                    parentForm: parent?.form ?? PlainForm(),
                    label: "layer \(id)"
                )
            }
            try Files.rename(
                "../staging/\(id)",
                below: layers.raw,
                to: id.rawValue,
                below: layers.raw,
                flags: CLINUX_RENAME_NOREPLACE
            )
        }
    }

    /// The parents' tree as far as `undecided` asks for it.
    ///
    /// Most tars carry every directory but the root, and the root of the merged tree is the top layer's: then nothing is
    /// mounted, which would cost each layer of an image what all layers below it cost.
    private func parentTree(
        for undecided: Undecided,
        _ parents: LayerChain
    ) throws -> (root: SharedFD, form: any TreeForm)? {
        guard let top = parents.top else { return nil }
        if undecided.hardLinks.isEmpty, undecided.impliedDirectories.allSatisfy(\.isRoot) {
            return (SharedFD(try Files.openDirectory(top.rawValue, below: layers.raw)), form)
        }
        return (try merge(parents.ids), PlainForm())
    }

    /// A layer without its work directory is a sealed one; so this may be repeated.
    private func sealWritable(_ id: LayerID) throws {
        guard try Files.status(id.rawValue, below: layers.raw) != nil else {
            throw StorageError(.notFound, "seal layer \(id): storage driver \(Self.name) has no such layer")
        }
        try removeWork(id)
    }

    package func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try doing("find the changes of layer \(id) (\(Self.name))") {
            let upper = SharedFD(try Files.openDirectory(id.rawValue, below: layers.raw))
            let walk = try UpperWalk(upper: upper.raw, parent: parentView(parents), form: form)
            guard walk.reachesParent else { return ChangeSet(changes: walk.changes, tree: upper, form: form) }
            return ChangeSet(changes: walk.changes, tree: try merge(parents.ids + [id]), form: PlainForm())
        }
    }

    private func parentView(_ parents: LayerChain) throws -> ParentView? {
        if parents.ids.count > ParentView.mostLayers {
            return try view(of: parents).map { ParentView(mount: $0) }
        }
        if parents.ids.isEmpty { return nil }
        var roots: [SharedFD] = []
        for id in parents.ids.reversed() {
            let root = SharedFD(try Files.openDirectory(id.rawValue, below: layers.raw))
            roots.append(root)
            if try form.isOpaque(root.raw) { break }
        }
        return ParentView(layers: roots, form: form) { try merge(parents.ids) }
    }

    package func usage(_ id: LayerID) throws -> LayerUsage {
        try doing("measure layer \(id) (\(Self.name))") {
            for place in [id.rawValue, "../staging/\(id)"]
            where try Files.status(place, below: layers.raw) != nil {
                let tree = try Files.openDirectory(place, below: layers.raw)
                return try treeUsage(of: tree.raw)
            }
            throw StorageError(
                .notFound,
                "measure layer \(id): storage driver \(Self.name) has no such layer"
            )
        }
    }

    package func remove(_ id: LayerID) throws { try removeDirectories(id) }

    /// Moves all directories of the layer into the trash.
    package func removeDirectories(_ id: LayerID) throws {
        try doing("remove layer \(id) (\(Self.name))") {
            // The work directory goes last: what still has one after a crash is listed and removed again.
            // One that is empty, as containers often leave it, is gone with one call.
            if (try? Files.unlink(id.rawValue, below: layers.raw, isDirectory: true)) != true {
                for place in [id.rawValue, "../staging/\(id)"] { try moveToTrash(place, as: id.rawValue) }
            }
            try removeWork(id)
        }
    }

    package func emptyTrash(shouldStop: () -> Bool) throws {
        try doing("empty the trash of storage driver \(Self.name)") {
            let trash = try Files.openDirectory("../trash", below: layers.raw)
            // One process at a time, or they would take the names from under each other.
            let isMine = try systemAnswer("flock", expecting: .wouldBlock) {
                clinux_flock(trash.raw, LOCK_EX | LOCK_NB)
            }
            if isMine == nil { return }
            var failure: (any Error)?
            for entry in try Files.list(trash.raw) {
                if shouldStop() { return }
                do { try Files.removeTree(entry.name, below: trash.raw) } catch { failure = failure ?? error }
            }
            if let failure { throw failure }
        }
    }

    /// Makes the directory that takes the id.
    private func makeNew(_ id: LayerID, in place: String) throws {
        do throws(SystemError) {
            try Files.makeDirectory("\(place)/\(id)", below: layers.raw, mode: 0o755)
        } catch {
            throw error.errno == .fileExists ? taken(id) : error
        }
    }

    private func checkAbsent(_ id: LayerID, in place: String) throws {
        if try Files.status("\(place)/\(id)", below: layers.raw) != nil { throw taken(id) }
    }

    private func taken(_ id: LayerID) -> StorageError {
        StorageError(.exists, "make layer \(id): storage driver \(Self.name) has a layer of that name")
    }

    /// Removes at once what a failure left half made; what cannot be removed stays in the trash.
    private func discard(_ id: LayerID) throws {
        try remove(id)
        try Files.removeTree("../trash/\(id)", below: layers.raw)
    }

    private func removeWork(_ id: LayerID) throws {
        // Empty but for the kernel's `work`, and in it the mark of a volatile mount, as a rule: cheaper removed than
        // renamed.
        let work = "../work/\(id)"
        _ = try? Files.unlink("\(work)/work/incompat/volatile/dirty", below: layers.raw)
        for path in ["/work/incompat/volatile", "/work/incompat", "/work"] {
            _ = try? Files.unlink(work + path, below: layers.raw, isDirectory: true)
        }
        if (try? Files.unlink(work, below: layers.raw, isDirectory: true)) != nil { return }
        try moveToTrash("../work/\(id)", as: "\(id).work")
    }

    /// Renames `place` below `layers` into the trash, where it stands in no one's way; absent is success.
    private func moveToTrash(_ place: String, as name: String) throws {
        var name = name
        while true {
            do throws(SystemError) {
                return try Files.rename(
                    place,
                    below: layers.raw,
                    to: "../trash/\(name)",
                    below: layers.raw,
                    flags: CLINUX_RENAME_NOREPLACE
                )
            } catch {
                if error.errno == .noSuchFileOrDirectory { return }
                guard error.errno == .fileExists else { throw error }
                name = "\(place.split(separator: "/").last ?? "").\(UInt64.random(in: 0...UInt64.max))"
            }
        }
    }
}
