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
        changes = walker.changes.sorted()
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
    private let mayShare: Bool
    private var frames: [Frame] = []
    /// Each path once, in no order.
    private(set) var changes: [Change] = []
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
        /// It is among the changes, and so are the directories above it.
        var isListed: Bool
        /// Visits the other half of a wide directory.
        var helper: UpperHelper?

        func everySecondName(from first: Int) -> [DirectoryEntry] {
            stride(from: first, to: names.count, by: 2).map { names[$0] }
        }
    }

    struct LinkedFile {
        var path: TreePath
        /// The parent's, if the path is there and no change by itself.
        var old: FileStatus?
        var new: FileStatus
    }

    /// From so many names on, a second thread is worth its start.
    private static let wide = 128

    init(upper: CInt, parent: ParentView?, form: any TreeForm) {
        upperRoot = upper
        parentView = parent
        self.upper = DirectoryStack(root: upper)
        self.parent = ParentWalk(parent)
        self.form = form
        comparison = EntryComparison(parentForm: parent?.form ?? PlainForm(), treeForm: form)
        mayShare = true
    }

    /// Begins where `other` is, to visit `names` of its directory and what is below them.
    private init(beside other: UpperWalker, root: CInt, _ names: [DirectoryEntry], of frame: Frame) throws {
        form = other.form
        upperRoot = root
        parentView = other.parentView
        upper = DirectoryStack(root: root)
        parent = try ParentWalk(at: other.parent)
        comparison = EntryComparison(parentForm: parentView?.form ?? PlainForm(), treeForm: form)
        mayShare = false
        frames = [frame]
        frames[0].names = names
        frames[0].isListed = true
    }

    func walk() throws {
        defer { for frame in frames { _ = try? frame.helper?.join() } }
        try enter(.root, hasParent: parentView != nil, isBelowOpaque: false, isListed: false)
        if try comparison.rootsDiffer(parent: parentView?.roots.first?.raw, tree: upperRoot) { list(0) }
        try visitAll()
    }

    fileprivate func visitAll() throws {
        while let last = frames.indices.last {
            if let entry = frames[last].names.popLast() {
                try visit(entry.name, in: last)
            } else {
                try leave()
            }
        }
    }

    /// Adds a change of the directory that the walk is in.
    private func record(_ kind: Change.Kind, _ path: TreePath) {
        changes.append(Change(kind, path))
        if let last = frames.indices.last { list(last) }
    }

    /// Lists a directory and those above it, unless they are.
    private func list(_ index: Int) {
        for index in (0...index).reversed() {
            if frames[index].isListed { return }
            frames[index].isListed = true
            changes.append(Change(.modified, frames[index].path))
        }
    }

    /// Adds paths from anywhere, with the directories above them.
    func add(_ paths: [TreePath]) {
        if paths.isEmpty { return }
        var known = Set(changes.map(\.path))
        for path in paths {
            var next: TreePath? = path
            while let path = next, known.insert(path).inserted {
                changes.append(Change(.modified, path))
                next = path.parent
            }
        }
    }

    /// Starts a frame for the directory that the stacks are in already.
    private func enter(_ path: TreePath, hasParent: Bool, isBelowOpaque: Bool, isListed: Bool) throws {
        // Without a parent's directory nothing can show, whatever the mark says.
        let isOpaque = try isBelowOpaque || !hasParent || form.isOpaque(upper.top)
        let names = try Files.list(upper.top)
        frames.append(
            Frame(path: path, names: names, hasParent: hasParent, isOpaque: isOpaque, isListed: isListed)
        )
        if names.count >= Self.wide { share() }
        guard hasParent, isOpaque else { return }
        let kept = Set(names.map(\.name))
        for name in try parent.names() where !kept.contains(name) { record(.deleted, path.appending(name)) }
    }

    /// Gives half of the directory's names to a second thread, unless there is one or none can be had.
    private func share() {
        guard mayShare, let last = frames.indices.last, frames.allSatisfy({ $0.helper == nil })
        else { return }
        let frame = frames[last]
        let helper = try? UpperHelper(upper.top) { root in
            try UpperWalker(beside: self, root: root, frame.everySecondName(from: 0), of: frame)
        }
        guard let helper else { return }
        frames[last].helper = helper
        frames[last].names = frame.everySecondName(from: 1)
    }

    private func leave() throws {
        if let index = frames.indices.last, let helper = frames[index].helper {
            frames[index].helper = nil
            if let other = try helper.join() {
                if !other.changes.isEmpty { list(index) }
                changes += other.changes
                linked += other.linked
            }
        }
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
        // An opaque directory has listed what it hides.
        guard frames[index].hasParent, !frames[index].isOpaque,
            try Files.status(name, below: upper.top) == nil,
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
        let isChanged = try old.map({ try comparison.differ($0, new) }) ?? true
        if isChanged { record(old == nil ? .added : .modified, path) }
        if isMerged { try parent.push(new.name) }
        try upper.push(new.name)
        try enter(path, hasParent: isMerged, isBelowOpaque: isBelowOpaque, isListed: isChanged)
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

/// A walk of half a directory on a thread of its own.
///
/// The walker belongs to that thread until it is joined.
private final class UpperHelper: @unchecked Sendable {
    private let directory: SharedFD
    private var walker: UpperWalker?
    private var failure: (any Error)?
    private var thread: Thread?

    /// - Parameter walker: makes the walker for a descriptor of the directory, which lives as long as this.
    init(_ directory: CInt, _ walker: (CInt) throws -> UpperWalker) throws {
        self.directory = SharedFD(try OwnedFD.duplicating(directory))
        self.walker = try walker(self.directory.raw)
        thread = try Thread { [self] in run() }
    }

    private func run() {
        do { try walker?.visitAll() } catch { failure = error }
    }

    /// Waits for its end; once.
    func join() throws -> UpperWalker? {
        thread.take()?.join()
        if let failure { throw failure }
        return walker.take()
    }
}
