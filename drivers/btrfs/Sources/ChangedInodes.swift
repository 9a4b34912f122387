// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// What a subvolume changed since a transaction: what the items of its tree say, and names that are to be compared.
///
/// Whatever is done to a file or directory (content, any metadata, attributes, names given and taken, moves) writes its
/// inode's item with the number of the transaction, and nothing takes that back. So the inodes with a newer number are
/// all that changed and is still there; what is gone is missing in a directory that changed. Inodes keep their numbers
/// in a snapshot.
///
/// Most changes are plain, and known without a look at the files: a file of one name came, went, or has another size,
/// time, owner or mode, in a directory that is where it was. All else is compared: files of several names, replaced
/// ones, what is in directories that are new or moved, attributes and content of what seems the same.
///
/// Cost: the leaves of the tree that were written since.
struct ChangedInodes {
    private let names: InodeNames
    private let scan: InodeScan
    private let root = ComparisonScope()
    private var changed: [UInt64: ChangedInode] = [:]
    private var places: [UInt64: Place] = [:]
    private var known: [Change] = []

    /// What may differ, what is known to, whether any inode of it is protected, and the inodes, which nothing needs further.
    typealias Found = (scope: ComparisonScope, known: [Change], hasProtected: Bool, inodes: [ChangedInode])

    init(_ scan: InodeScan, names: InodeNames) {
        self.names = names
        self.scan = scan
        places[CBTRFS_ROOT_INODE] = Place(root)
    }

    mutating func find() throws(SystemError) -> Found {
        let found = try scan.find()
        changed.reserveCapacity(found.count)
        for inode in found { changed[inode.inode] = inode }
        for inode in found {
            if inode.item.isDirectory { try take(directory: inode) } else { try take(file: inode) }
        }
        changed = [:]
        return (root, known, found.contains(where: \.item.isProtected), found)
    }

    private mutating func take(file: ChangedInode) throws(SystemError) {
        if file.item.links == 1, let name = file.names.first,
            let place = try place(ofDirectory: name.directory), place.isSame
        {
            let isNew = file.namesBefore?.contains(name) != true
            if isNew, changed[name.directory]?.removed != nil { return }  // its directory tells
            if !isNew, let before = file.before?.item, before.links == 1, before.differs(from: file.item) {
                return known.append(Change(.modified, place.path.appending(name.name)))
            }
        }
        for name in file.names {
            _ = try place(ofDirectory: name.directory)?.scope.insert(name.name)
        }
    }

    private mutating func take(directory: ChangedInode) throws(SystemError) {
        guard let place = try place(ofDirectory: directory.inode) else { return }
        guard place.isSame, let before = directory.before, let removed = directory.removed else {
            place.scope.comparesNames = true
            return
        }
        let path = place.path
        if before.item.differs(from: directory.item) {
            known.append(Change(.modified, path))
        } else {
            _ = place.scope
        }
        var gone = Set(removed)
        for entry in directory.entries.added {
            let isReplaced = gone.remove(entry.name) != nil
            if !isReplaced, let file = entry.file, changed[file]?.item.links == 1 {
                known.append(Change(.added, path.appending(entry.name)))
            } else {
                place.scope.insert(entry.name)
            }
        }
        known += gone.map { Change(.deleted, path.appending($0)) }
    }

    /// `nil` for a directory that has no name.
    private mutating func place(ofDirectory inode: UInt64) throws(SystemError) -> Place? {
        var above: [(inode: UInt64, name: InodeNames.Name)] = []
        var next = inode
        while places[next] == nil {
            var name = changed[next]?.names.first
            if name == nil { name = try names.names(of: next).first }
            guard let name else { return nil }
            above.append((next, name))
            try InodeNames.checkDepth(above.count)
            next = name.directory
        }
        var place = places[next]
        for (inode, name) in above.reversed() {
            guard let directory = place else { return nil }
            let isMoved = changed[inode].map { $0.namesBefore != [name] } ?? false
            place = Place(name.name, in: directory, isSame: directory.isSame && !isMoved)
            places[inode] = place
        }
        return place
    }
}

/// Where a directory is; kept by those who made it.
private final class Place {
    private let name: TreePath
    private unowned let above: Place?
    /// Whether the parent's tree has the same directory at the same path.
    let isSame: Bool
    private var present: ComparisonScope?
    private var knownPath: TreePath?

    init(_ root: ComparisonScope) {
        name = .root
        above = nil
        isSame = true
        present = root
    }

    init(_ name: TreePath, in above: Place, isSame: Bool) {
        self.name = name
        self.above = above
        self.isSame = isSame
    }

    /// Where nobody has asked for the paths above it, it may be far up to one that is known.
    var path: TreePath {
        if let knownPath { return knownPath }
        var names: [TreePath] = []
        var next: Place? = self
        while let place = next, place.knownPath == nil {
            names.append(place.name)
            next = place.above
        }
        let path = names.reversed().reduce(next?.knownPath ?? .root) { $0.appending($1) }
        knownPath = path
        return path
    }

    /// What is to be looked at in it; from the first use on, it is looked at itself.
    var scope: ComparisonScope {
        var missing: [Place] = []
        var next: Place? = self
        while let place = next, place.present == nil {
            missing.append(place)
            next = place.above
        }
        for place in missing.reversed() { place.present = place.above?.present?.insert(place.name) }
        return present ?? ComparisonScope()
    }
}
