// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage

/// What the upper directory of an overlay changed against the merged view of the layers below it.
///
/// The upper yields candidates; each is compared exactly, so that the answer is that of a walk of the two merged
/// trees. Cost: O(what is in the upper, and the names that its opaque directories hide). Only where a file of several
/// names was copied up without a change is the parent's tree walked too, for the names that it left behind.
package struct UpperWalk {
    /// Sorted by path bytes.
    package let changes: [Change]
    /// Whether some change is to be read in the merged tree, because the upper does not have it: a name of a file
    /// that lost others of its names.
    package let reachesParent: Bool

    /// - Parameters:
    ///   - upper: an open directory.
    ///   - parent: the merged tree of the layers below, `nil` where there is none.
    package init(upper: CInt, parent: ParentView?, form: any TreeForm) throws {
        let walker = UpperWalker(upper: upper, parent: parent, form: form)
        try walker.walk()
        reachesParent = try walker.compareGroups()
        changes = walker.kinds.map { Change($0.value, $0.key) }.sorted()
    }
}

/// One run of `UpperWalk`.
final class UpperWalker {
    let form: any TreeForm
    let upperRoot: CInt
    let parentView: ParentView?
    private let upper: DirectoryStack
    private let parent: ParentWalk
    private let comparison: EntryComparison
    private var frames: [Frame] = []
    private(set) var kinds: [TreePath: Change.Kind] = [:]
    /// Files of the upper that have, or had, several names.
    private(set) var linked: [LinkedFile] = []

    /// A directory of the upper that the walk is in.
    private struct Frame {
        var path: TreePath
        /// Still to visit, the next one last.
        var names: [DirectoryEntry]
        /// The parent's tree has this directory; then `parent` is in it.
        var hasParent: Bool
        /// Nothing of the layers below shows in it.
        var isOpaque: Bool
    }

    struct LinkedFile {
        var path: TreePath
        /// The parent's, if the path is there and no change by itself.
        var old: FileStatus?
        var new: FileStatus
    }

    init(upper: CInt, parent: ParentView?, form: any TreeForm) {
        upperRoot = upper
        parentView = parent
        self.upper = DirectoryStack(root: upper)
        self.parent = ParentWalk(parent)
        self.form = form
        comparison = EntryComparison(parentForm: parent?.form ?? PlainForm(), treeForm: form)
    }

    func walk() throws {
        try enter(.root, hasParent: parentView != nil, isBelowOpaque: false)
        if try comparison.rootsDiffer(parent: parentView?.roots.first?.raw, tree: upperRoot) {
            record(.modified, .root)
        }
        while let last = frames.indices.last {
            if let entry = frames[last].names.popLast() {
                try visit(entry.name, in: last)
            } else {
                try leave()
            }
        }
    }

    /// Lists `path` and the directories above it.
    func record(_ kind: Change.Kind, _ path: TreePath) {
        if kinds.updateValue(kind, forKey: path) != nil { return }
        var next = path.parent
        while let directory = next, kinds[directory] == nil {
            kinds[directory] = .modified
            next = directory.parent
        }
    }

    /// Starts a frame for the directory that the stacks are in already.
    private func enter(_ path: TreePath, hasParent: Bool, isBelowOpaque: Bool) throws {
        // Without a parent's directory nothing can show, whatever the mark says.
        let isOpaque = try isBelowOpaque || !hasParent || form.isOpaque(upper.top)
        let names = try Files.list(upper.top)
        frames.append(Frame(path: path, names: names, hasParent: hasParent, isOpaque: isOpaque))
        guard hasParent, isOpaque else { return }
        let kept = Set(names.map(\.name))
        for name in try parent.names() where !kept.contains(name) { record(.deleted, path.appending(name)) }
    }

    private func leave() throws {
        let frame = frames.removeLast()
        if frames.isEmpty { return }
        try upper.pop()
        if frame.hasParent { try parent.pop() }
    }

    private func visit(_ name: TreePath, in index: Int) throws {
        switch form.meaning(of: name) {
        case .mark: return
        case .whiteout(let hidden): return try visitWhiteout(hidden, in: index)
        case .entry: break
        }
        // A running container may have removed it since the directory was read.
        guard let new = try EntryComparison.Place(name, below: upper.top) else { return }
        let path = frames[index].path.appending(name)
        let old = frames[index].hasParent ? try parent.find(name) : nil
        if form.isWhiteout(new.status, named: name) {
            if old != nil { record(.deleted, path) }
        } else if new.status.kind == .directory {
            let isHidden = try frames[index].isOpaque || form.hides(name, below: upper.top)
            try visitDirectory(new, old, path, isBelowOpaque: isHidden)
        } else {
            try visitFile(new, old, path)
        }
    }

    /// A mark that stands beside the name that it hides, which the upper may have itself.
    private func visitWhiteout(_ name: TreePath, in index: Int) throws {
        guard frames[index].hasParent, try Files.status(name, below: upper.top) == nil,
            try parent.find(name) != nil
        else { return }
        record(.deleted, frames[index].path.appending(name))
    }

    private func visitDirectory(
        _ new: EntryComparison.Place,
        _ old: EntryComparison.Place?,
        _ path: TreePath,
        isBelowOpaque: Bool
    ) throws {
        let isMerged = old?.status.kind == .directory
        if try old.map({ try comparison.differ($0, new) }) ?? true {
            record(old == nil ? .added : .modified, path)
        }
        try upper.push(new.name)
        if isMerged { try parent.push(new.name) }
        try enter(path, hasParent: isMerged, isBelowOpaque: isBelowOpaque)
    }

    private func visitFile(
        _ new: EntryComparison.Place,
        _ old: EntryComparison.Place?,
        _ path: TreePath
    ) throws {
        let isChanged = try old.map { try comparison.differ($0, new) } ?? true
        if isChanged { record(old == nil ? .added : .modified, path) }
        let unchanged = isChanged ? nil : old?.status
        if new.status.links > 1 || (unchanged?.links ?? 1) > 1 {
            linked.append(LinkedFile(path: path, old: unchanged, new: new.status))
        }
    }
}
