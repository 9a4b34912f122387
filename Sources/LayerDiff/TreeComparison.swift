// SPDX-License-Identifier: Apache-2.0

import LinuxSys
package import Storage
import SystemPackage

/// Finds what changed between two whole trees by walking both: the oracle of every driver's `changes`.
///
/// Hard-link groups: a path of both trees is changed if the names that share its file are not those that did before,
/// leaving out names that are gone or changed in themselves. So removing one name of a file does not list the others,
/// since applying the removal gives the new group; giving a file a new name lists all its names.
package struct TreeComparison {
    /// What changed in `tree` against `parent`, sorted.
    ///
    /// Content is always read where all else is equal.
    ///
    /// - Parameter parent: `nil` compares with an empty tree, whose root is 0755, root's, of time 0.
    package static func changes(
        parent: CInt?,
        tree: CInt,
        parentForm: any TreeForm = PlainForm(),
        treeForm: any TreeForm = PlainForm()
    ) throws -> [Change] {
        let walk = TwoTreeWalk(
            parent: parent,
            tree: tree,
            comparison: EntryComparison(parentForm: parentForm, treeForm: treeForm),
            treeForm: treeForm
        )
        return try walk.run()
    }
}

/// One name of a directory that stands in one of two trees or both.
private struct PairedName {
    var name: TreePath
    var inParent: Bool
    var inTree: Bool
}

/// A directory of both trees, or of the new one alone, of which `names` are still to be looked at, the next one last.
private struct PairedDirectory {
    var path: TreePath
    var hasParent: Bool
    var names: [PairedName]
    /// What is listed for the directory itself, if something in it changes or it did.
    var kind: Change.Kind
    var isListed: Bool
}

private final class TwoTreeWalk {
    private let comparison: EntryComparison
    private let treeForm: any TreeForm
    private let parentRoot: CInt?
    private let treeRoot: CInt
    private let parentStack: DirectoryStack?
    private let treeStack: DirectoryStack
    private var frames: [PairedDirectory] = []
    private var changes: [Change] = []
    private var groups = LinkGroups()

    init(parent: CInt?, tree: CInt, comparison: EntryComparison, treeForm: any TreeForm) {
        self.comparison = comparison
        self.treeForm = treeForm
        parentRoot = parent
        treeRoot = tree
        parentStack = parent.map { DirectoryStack(root: $0) }
        treeStack = DirectoryStack(root: tree)
    }

    func run() throws -> [Change] {
        try enter(.root, hasParent: parentRoot != nil, kind: .modified, isListed: try rootDiffers())
        while let last = frames.indices.last {
            guard let next = frames[last].names.popLast() else {
                try leave()
                continue
            }
            if try compare(next, in: last) { frames[last].isListed = true }
        }
        listBrokenGroups()
        changes.sort()
        return changes
    }

    private func rootDiffers() throws -> Bool {
        let status = try Files.status(of: treeRoot)
        let tree = EntryComparison.Place(".", below: treeRoot, status: status)
        guard let parentRoot else {
            let attributes = treeForm.visible(try ExtendedAttributes.read(of: treeRoot))
            return status.mode != 0o755 || status.uid != 0 || status.gid != 0 || !attributes.isEmpty
                || status.mtime != Timestamp(seconds: 0)
        }
        let parent = EntryComparison.Place(".", below: parentRoot, status: try Files.status(of: parentRoot))
        return try comparison.differ(parent, tree)
    }

    private func enter(_ path: TreePath, hasParent: Bool, kind: Change.Kind, isListed: Bool) throws {
        let tree = try Files.sortedList(treeStack.top).map(\.name)
        let parent = try hasParent ? Files.sortedList(parentStack?.top ?? -1).map(\.name) : []
        frames.append(
            PairedDirectory(
                path: path,
                hasParent: hasParent,
                names: pair(parent, tree),
                kind: kind,
                isListed: isListed
            )
        )
    }

    /// Both sorted lists as one, in descending order.
    private func pair(_ parent: [TreePath], _ tree: [TreePath]) -> [PairedName] {
        var names: [PairedName] = []
        names.reserveCapacity(max(parent.count, tree.count))
        var (old, new) = (parent.count - 1, tree.count - 1)
        while old >= 0 || new >= 0 {
            if old >= 0, new >= 0, parent[old] == tree[new] {
                names.append(PairedName(name: tree[new], inParent: true, inTree: true))
                old -= 1
                new -= 1
            } else if new < 0 || (old >= 0 && tree[new] < parent[old]) {
                names.append(PairedName(name: parent[old], inParent: true, inTree: false))
                old -= 1
            } else {
                names.append(PairedName(name: tree[new], inParent: false, inTree: true))
                new -= 1
            }
        }
        return names
    }

    private func leave() throws {
        let frame = frames.removeLast()
        if frame.isListed { changes.append(Change(frame.kind, frame.path)) }
        guard let above = frames.indices.last else { return }
        if frame.isListed { frames[above].isListed = true }
        try treeStack.pop()
        if frame.hasParent { try parentStack?.pop() }
    }

    /// Compares one name, going into it where it is a directory; whether it is a change by itself.
    private func compare(_ pair: PairedName, in frame: Int) throws -> Bool {
        let path = frames[frame].path.appending(pair.name)
        let old = pair.inParent ? try EntryComparison.Place(pair.name, below: parentStack?.top ?? -1) : nil
        // A name of a running container's tree may be gone since the directory was read.
        guard let new = try EntryComparison.Place(pair.name, below: treeStack.top) else {
            if old != nil { changes.append(Change(.deleted, path)) }
            return old != nil
        }
        guard let old else { return try add(new, path, kind: .added) }
        if old.status.kind != new.status.kind { return try add(new, path, kind: .modified) }
        let isChanged = try comparison.differ(old, new)
        if new.status.kind == .directory {
            try parentStack?.push(pair.name)
            try treeStack.push(pair.name)
            try enter(path, hasParent: true, kind: .modified, isListed: isChanged)
            return false
        }
        if EntryComparison.hasGroup(old.status, new.status) {
            groups.add(path, parent: isChanged ? nil : old.status, tree: new.status)
        }
        if isChanged { changes.append(Change(.modified, path)) }
        return isChanged
    }

    /// Lists what the parent has not, or has as something else, with all that is in it.
    private func add(_ new: EntryComparison.Place, _ path: TreePath, kind: Change.Kind) throws -> Bool {
        if new.status.kind == .directory {
            try treeStack.push(new.name)
            try enter(path, hasParent: false, kind: kind, isListed: true)
            return false
        }
        if new.status.links > 1 { groups.add(path, parent: nil, tree: new.status) }
        changes.append(Change(kind, path))
        return true
    }

    /// Lists the paths of which only the group changed, and the directories above them.
    private func listBrokenGroups() {
        let broken = groups.changed()
        if broken.isEmpty { return }
        var listed = Set(changes.map(\.path))
        for path in broken {
            var next: TreePath? = path
            while let now = next, listed.insert(now).inserted {
                changes.append(Change(.modified, now))
                next = now.parent
            }
        }
    }
}

/// The paths that share a file with others, in both trees.
private struct LinkGroups {
    private struct FileKey: Hashable {
        var inode: UInt64
        var device: DeviceNumber

        init(_ status: FileStatus) {
            inode = status.inode
            device = status.device
        }
    }

    private struct Pairing: Hashable {
        var old: FileKey
        var new: FileKey
    }

    private struct Member {
        var path: TreePath
        /// Nil where the path is a change by itself: then it is no longer the file it was.
        var old: FileKey?
        var new: FileKey
    }

    private var members: [Member] = []

    /// Takes a path of the new tree, with its status in the parent if it is otherwise unchanged.
    mutating func add(_ path: TreePath, parent: FileStatus?, tree: FileStatus) {
        members.append(Member(path: path, old: parent.map(FileKey.init), new: FileKey(tree)))
    }

    /// The paths, unchanged by themselves, whose groups differ.
    func changed() -> [TreePath] {
        var oldGroups: [FileKey: [Int]] = [:]
        var newGroups: [FileKey: [Int]] = [:]
        for (index, member) in members.enumerated() {
            if let old = member.old { oldGroups[old, default: []].append(index) }
            newGroups[member.new, default: []].append(index)
        }
        var known: [Pairing: Bool] = [:]
        var paths: [TreePath] = []
        for member in members {
            guard let old = member.old else { continue }
            let pairing = Pairing(old: old, new: member.new)
            let differs = known[pairing] ?? (oldGroups[old] != newGroups[member.new])
            known[pairing] = differs
            if differs { paths.append(member.path) }
        }
        return paths
    }
}
