// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Overlay
package import Storage
import SystemPackage

/// The life of a layer: made or unpacked, sealed, removed.
extension Overlay2Driver {
    package func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws {
        if options.size != nil {
            throw StorageError(
                .unsupported,
                "make layer \(id) with a limit of size: storage driver overlay2 cannot enforce one",
                remedy: "leave the size out, or use another storage driver"
            )
        }
        try doing("make layer \(id) (overlay2)") {
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
            let attributes = form.visible(try ExtendedAttributes.read(of: parent.raw))
            for attribute in try form.stored(attributes) {
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
        let root: OwnedFD = try doing("unpack \(source.label) (overlay2)") {
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
        try doing("seal layer \(id) (overlay2)") {
            guard let staged = try Files.status("../staging/\(id)", below: layers.raw),
                staged.kind == .directory
            else {
                return try sealWritable(id)
            }
            let root = try Files.openDirectory("../staging/\(id)", below: layers.raw)
            try form.expandOpaqueRoot(root.raw) { try view(of: parents) }
            if !undecided.isEmpty {
                let parent = try view(of: parents)
                try resolve(
                    undecided,
                    root: root.raw,
                    form: form,
                    parentRoot: parent?.raw,
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

    /// A layer without its work directory is a sealed one; so this may be repeated.
    private func sealWritable(_ id: LayerID) throws {
        guard try Files.status(id.rawValue, below: layers.raw) != nil else {
            throw StorageError(.notFound, "seal layer \(id): storage driver overlay2 has no such layer")
        }
        try removeWork(id)
    }

    package func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try doing("find the changes of layer \(id) (overlay2)") {
            let upper = SharedFD(try Files.openDirectory(id.rawValue, below: layers.raw))
            let walk = try UpperWalk(upper: upper.raw, parent: parentView(parents), form: form)
            guard walk.reachesParent else { return ChangeSet(changes: walk.changes, tree: upper, form: form) }
            let merged = SharedFD(try overlay(parents.ids + [id]).make(method))
            return ChangeSet(changes: walk.changes, tree: merged, form: PlainForm())
        }
    }

    private func parentView(_ parents: LayerChain) throws -> ParentView? {
        if parents.ids.count > ParentView.mostLayers {
            return try view(of: parents).map { ParentView(mount: $0) }
        }
        if parents.ids.isEmpty { return nil }
        let roots = try parents.ids.reversed().map {
            SharedFD(try Files.openDirectory($0.rawValue, below: layers.raw))
        }
        let mount = overlay(parents.ids)
        return ParentView(layers: roots, form: form) { SharedFD(try mount.make(method)) }
    }

    package func usage(_ id: LayerID) throws -> LayerUsage {
        try doing("measure layer \(id) (overlay2)") {
            for place in [id.rawValue, "../staging/\(id)"]
            where try Files.status(place, below: layers.raw) != nil {
                let tree = try Files.openDirectory(place, below: layers.raw)
                return try treeUsage(of: tree.raw)
            }
            throw StorageError(.notFound, "measure layer \(id): storage driver overlay2 has no such layer")
        }
    }

    package func remove(_ id: LayerID) throws {
        try doing("remove layer \(id) (overlay2)") {
            // The work directory goes last: what still has one after a crash is listed and removed again.
            for place in [id.rawValue, "../staging/\(id)"] { try moveToTrash(place, as: id.rawValue) }
            try removeWork(id)
        }
    }

    package func emptyTrash(shouldStop: () -> Bool) throws {
        try doing("empty the trash of storage driver overlay2") {
            let trash = try Files.openDirectory("../trash", below: layers.raw)
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
        StorageError(.exists, "make layer \(id): storage driver overlay2 has a layer of that name")
    }

    /// Removes at once what a failure left half made; what cannot be removed stays in the trash.
    private func discard(_ id: LayerID) throws {
        try remove(id)
        try Files.removeTree("../trash/\(id)", below: layers.raw)
    }

    private func removeWork(_ id: LayerID) throws {
        // Empty but for the kernel's `work`, as a rule: cheaper removed than renamed.
        if (try? Files.unlink("../work/\(id)/work", below: layers.raw, isDirectory: true)) != nil,
            (try? Files.unlink("../work/\(id)", below: layers.raw, isDirectory: true)) != nil
        {
            return
        }
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
