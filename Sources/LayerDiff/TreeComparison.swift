// SPDX-License-Identifier: Apache-2.0

import Glibc
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
    /// - Parameters:
    ///   - parent: `nil` compares with an empty tree, whose root is 0755, root's, of time 0.
    ///   - record: what `tree` looked like when it was an exact copy of `parent`; what was not touched since is taken
    ///     as equal.
    ///   - candidates: what alone may differ; then the cost is theirs. Needs a parent.
    package static func changes(
        parent: CInt?,
        tree: CInt,
        parentForm: any TreeForm = PlainForm(),
        treeForm: any TreeForm = PlainForm(),
        since record: TreeRecord? = nil,
        candidates: ComparisonCandidates? = nil
    ) throws -> [Change] {
        // A mount's own descriptor may be one that only marks a place.
        let root = SharedFD(try Files.open(".", below: tree, O_RDONLY | O_DIRECTORY))
        let parentRoot = try parent.map { SharedFD(try Files.open(".", below: $0, O_RDONLY | O_DIRECTORY)) }
        let walk = TwoTreeWalk(
            parent: parentRoot,
            tree: root,
            comparison: EntryComparison(parentForm: parentForm, treeForm: treeForm),
            record: record
        )
        guard let candidates, parentRoot != nil else { return try walk.run(nil) }
        walk.linked = LinkedCandidates(candidates, device: try Files.status(of: root.raw).device)
        return try walk.run(candidates.root)
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
    /// What alone may differ in it; `nil`: anything.
    var scope: ComparisonScope?
}

private final class TwoTreeWalk {
    private let comparison: EntryComparison
    private let record: TreeRecord?
    private let parentRoot: SharedFD?
    private let treeRoot: SharedFD
    private let parentStack: DirectoryStack?
    private let treeStack: DirectoryStack
    private var frames: [PairedDirectory] = []
    private var changes: [Change] = []
    private var groups = LinkGroups()
    /// Set where only candidates are compared.
    var linked: LinkedCandidates?

    init(parent: SharedFD?, tree: SharedFD, comparison: EntryComparison, record: TreeRecord?) {
        self.record = record
        self.comparison = comparison
        parentRoot = parent
        treeRoot = tree
        parentStack = parent.map { DirectoryStack(root: $0.raw) }
        treeStack = DirectoryStack(root: tree.raw)
    }

    func run(_ scope: ComparisonScope?) throws -> [Change] {
        try walk(scope)
        while let rest = try linked?.takeRest() { try walk(rest) }
        listRest()
        changes.sort()
        removeRepeated()
        return changes
    }

    private func walk(_ scope: ComparisonScope?) throws {
        let rootsDiffer = try comparison.rootsDiffer(parent: parentRoot?.raw, tree: treeRoot.raw)
        try enter(.root, hasParent: parentRoot != nil, kind: .modified, isListed: rootsDiffer, scope)
        while let last = frames.indices.last {
            guard let next = frames[last].names.popLast() else {
                try leave()
                continue
            }
            if try compare(next, in: last) { frames[last].isListed = true }
        }
    }

    /// Directories are listed by each walk that comes through them, and for what is below them.
    private func removeRepeated() {
        var kept = 0
        for index in changes.indices {
            if kept == 0 || changes[kept - 1].path != changes[index].path {
                if kept != index { changes[kept] = changes[index] }
                kept += 1
            } else if changes[kept - 1].kind == .modified {
                // What it is by itself says more than what is below it.
                changes[kept - 1] = changes[index]
            }
        }
        changes.removeSubrange(kept...)
    }

    private func enter(
        _ path: TreePath,
        hasParent: Bool,
        kind: Change.Kind,
        isListed: Bool,
        _ scope: ComparisonScope?
    ) throws {
        let names: [PairedName]
        if let scope {
            names = try self.names(in: scope)
        } else {
            let tree = try listTree()
            let parent = try hasParent ? Files.sortedList(parentStack?.top ?? -1).map(\.name) : []
            names = pair(parent, tree)
        }
        frames.append(
            PairedDirectory(
                path: path,
                hasParent: hasParent,
                names: names,
                kind: kind,
                isListed: isListed,
                scope: scope
            )
        )
    }

    /// What a scope says may differ in the directories where the stacks are, in descending order.
    private func names(in scope: ComparisonScope) throws -> [PairedName] {
        var names = scope.names.keys.map { PairedName(name: $0, inParent: true, inTree: true) }
        if scope.comparesNames, let parent = parentStack?.top {
            for difference in try Files.nameDifferences(parent, treeStack.top)
            where scope.names[difference.name] == nil {
                names.append(
                    PairedName(name: difference.name, inParent: difference.inOld, inTree: difference.inNew)
                )
            }
        }
        names.sort { $0.name > $1.name }
        return names
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
        let isUntouched = record?.isUntouched(path, new.status) ?? false
        let difference = try isUntouched ? false : differ(old, new)
        guard let isChanged = difference, try new.status.kind != .directory || push(new) else {
            changes.append(Change(.deleted, path))
            return true
        }
        if new.status.kind == .directory {
            try parentStack?.push(pair.name)
            let scope = frames[frame].scope.flatMap { scope in
                // Another directory in the place of the old one.
                old.status.inode != new.status.inode ? nil : scope.names[pair.name] ?? ComparisonScope()
            }
            try enter(path, hasParent: true, kind: .modified, isListed: isChanged, scope)
            return false
        }
        if EntryComparison.hasGroup(old.status, new.status) {
            groups.add(path, parent: isChanged ? nil : old.status, tree: new.status)
            linked?.note(path, parent: old.status, tree: new.status)
        }
        if isChanged { changes.append(Change(.modified, path)) }
        return isChanged
    }

    // MARK: A tree that somebody changes meanwhile

    /// Whether the two differ; `nil` if the new one is gone.
    private func differ(_ old: EntryComparison.Place, _ new: EntryComparison.Place) throws -> Bool? {
        do {
            return try differNow(old, new)
        } catch let error as SystemError where error.meansGone {
            let now = try Files.status(new.name, below: new.directory)
            if now?.inode == new.status.inode, now?.kind == new.status.kind { throw error }
            return nil
        }
    }

    /// Another name, say, changes nothing of a large file that would have to be read.
    private func differNow(_ old: EntryComparison.Place, _ new: EntryComparison.Place) throws -> Bool {
        guard let linked else { return try comparison.differ(old, new) }
        if try comparison.differ(old, new, trustingContent: true) { return true }
        return try !linked.shareContent(old.status, new.status) && comparison.differ(old, new)
    }

    /// Goes down into a directory of the tree; false if it is gone.
    private func push(_ directory: EntryComparison.Place) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try treeStack.push(directory.name)
            return true
        } catch {
            if error.meansGone { return false }
            throw error
        }
    }

    /// The names in the tree's directory, none if that is gone.
    private func listTree() throws(SystemError) -> [TreePath] {
        do throws(SystemError) {
            return try Files.sortedList(treeStack.top).map(\.name)
        } catch {
            if error.meansGone { return [] }
            throw error
        }
    }

    /// Lists what the parent has not, or has as something else, with all that is in it.
    private func add(_ new: EntryComparison.Place, _ path: TreePath, kind: Change.Kind) throws -> Bool {
        if new.status.kind == .directory {
            guard try push(new) else {
                if kind == .modified { changes.append(Change(.deleted, path)) }
                return kind == .modified
            }
            try enter(path, hasParent: false, kind: kind, isListed: true, nil)
            return false
        }
        if new.status.links > 1 {
            groups.add(path, parent: nil, tree: new.status)
            linked?.note(path, parent: nil, tree: new.status)
        }
        changes.append(Change(kind, path))
        return true
    }

    /// Lists what was known before, the paths of which only the group changed, and the directories above them.
    private func listRest() {
        let broken = groups.changed()
        let known = linked?.candidates.known ?? []
        if broken.isEmpty, known.isEmpty { return }
        changes += known
        var listed: Set<TreePath> = []
        var last: TreePath?
        for start in broken + known.compactMap(\.path.parent) where start != last {
            last = start
            var next: TreePath? = start
            while let now = next, listed.insert(now).inserted {
                changes.append(Change(.modified, now))
                next = now.parent
            }
        }
    }
}
