// SPDX-License-Identifier: Apache-2.0

import CLinux
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// Snapshots of layers that containers begin with, made beforehand.
///
/// A snapshot costs a commit of the file system, which waits for the disk; one that is there already costs a rename.
/// Several that are asked for at once come with the same two commits. So a layer over which a second one is made is given
/// a reserve, and again whenever that is used up.
///
/// ```
/// <top>/reserve/<parent>/<slot>/layer     a snapshot of the parent, which nobody has used
/// ```
/// A directory takes one new subvolume at a time, so each has one of its own. All go with the parent.
struct Reserve {
    private static let slots = 0..<7
    private static let name = "reserve"
    private static let snapshot = "layer"

    /// The directory in which `reserve` is; stays the caller's.
    let top: CInt

    /// Makes a snapshot of a layer that nobody changes, `parent`, or takes one that is there.
    ///
    /// Fails as `Subvolume.snapshot` does.
    func provide(
        _ id: LayerID,
        over parent: LayerID,
        _ source: CInt,
        below layers: CInt
    ) throws(SystemError) {
        let directory = try? Files.openDirectory(path(parent), below: top)
        var slots: [SharedFD] = []
        if let directory {
            if take(from: directory.raw, as: id, source, below: layers) { return }
            slots = Self.slots.compactMap { slot in
                _ = try? Files.ensureDirectory("\(slot)", below: directory.raw)
                return try? SharedFD(Files.openDirectory("\(slot)", below: directory.raw))
            }
        } else {
            // If it cannot be made, there is no reserve.
            _ = try? Files.ensureDirectory(Self.name, below: top)
            _ = try? Files.ensureDirectory(path(parent), below: top)
        }
        let threads = slots.map { slot in
            try? Thread { try? Subvolume.snapshot(source, as: Self.snapshot, below: slot.raw) }
        }
        let made = Result { () throws(SystemError) in
            try Subvolume.snapshot(source, as: id.rawValue, below: layers)
        }
        for thread in threads { thread?.join() }
        try made.get()
    }

    private func path(_ parent: LayerID) -> String { "\(Self.name)/\(parent)" }

    /// - Returns: whether there was one, and it is what a new snapshot would be.
    private func take(from directory: CInt, as id: LayerID, _ source: CInt, below layers: CInt) -> Bool {
        for slot in Self.slots {
            do {
                try Files.rename(
                    "\(slot)/\(Self.snapshot)",
                    below: directory,
                    to: id.rawValue,
                    below: layers,
                    flags: CLINUX_RENAME_NOREPLACE
                )
            } catch {
                if error.errno == .noSuchFileOrDirectory { continue }
                return false
            }
            if (try? isPristine(id, source, below: layers)) == true { return true }
            guard (try? Subvolume.deleteAlone(id.rawValue, below: layers)) != nil else { return false }
        }
        return false
    }

    private func isPristine(_ id: LayerID, _ source: CInt, below layers: CInt) throws(SystemError) -> Bool {
        let tree = try Subvolume.open(id.rawValue, below: layers)
        let info = try Subvolume.info(tree.raw)
        let origin = try Subvolume.info(source)
        return info.written == info.made && info.isSnapshot(of: origin)
    }

    /// Deletes what there is for a layer; absent is success.
    func remove(_ parent: LayerID) throws(SystemError) {
        guard try Files.status(path(parent), below: top) != nil else { return }
        for slot in Self.slots {
            guard let directory = try? Files.openDirectory("\(path(parent))/\(slot)", below: top) else {
                continue
            }
            try Subvolume.delete(Self.snapshot, below: directory.raw)
        }
        try Files.removeTree(path(parent), below: top)
        // Unless there are others.
        _ = try? Files.unlink(Self.name, below: top, isDirectory: true)
    }

    /// Deletes what there is for layers that are gone.
    func sweep(_ isLayer: (LayerID) throws(SystemError) -> Bool) throws(SystemError) {
        guard let directory = try? Files.openDirectory(Self.name, below: top) else { return }
        var failure: SystemError?
        for entry in try Files.list(directory.raw) {
            guard let parent = LayerID(entry.name.printable), try !isLayer(parent) else { continue }
            do throws(SystemError) { try remove(parent) } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }
}
