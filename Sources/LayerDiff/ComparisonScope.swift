// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import Storage

/// The names in one directory that may differ between two trees; what it does not name is equal and not looked at.
///
/// For trees of which one began as a snapshot of the other, so that an inode that did not change has the same number in
/// both. A directory that has another number than in the parent's tree is compared as a whole.
package final class ComparisonScope {
    private(set) var names: [TreePath: ComparisonScope] = [:]
    /// Whether names may have come, gone, or been given to other files.
    package var comparesNames = false

    package init() {}

    /// What may differ in `name`, which from now on is looked at.
    @discardableResult
    package func insert(_ name: TreePath) -> ComparisonScope {
        if let present = names[name] { return present }
        let new = ComparisonScope()
        names[name] = new
        return new
    }
}

/// What may differ between a tree and its parent's, from whatever a driver knows without a walk.
package struct ComparisonCandidates {
    package var root: ComparisonScope
    /// What certainly changed, and is not looked at: files of one name, and directories; without those above them.
    package var known: [Change]
    /// All paths of a file of several names, in the parent's tree and in the tree, by inode number.
    ///
    /// Asked for files that the comparison comes across, since what happens to one name can change the group of all.
    package var parentPaths: (UInt64) throws -> [TreePath]
    package var treePaths: (UInt64) throws -> [TreePath]
    /// Whether a file that has this number in both trees is known to have the same content, without a look at it.
    package var sharesContent: (UInt64) throws -> Bool

    package init(
        root: ComparisonScope,
        known: [Change] = [],
        parentPaths: @escaping (UInt64) throws -> [TreePath],
        treePaths: @escaping (UInt64) throws -> [TreePath],
        sharesContent: @escaping (UInt64) throws -> Bool = { _ in false }
    ) {
        self.root = root
        self.known = known
        self.parentPaths = parentPaths
        self.treePaths = treePaths
        self.sharesContent = sharesContent
    }
}

/// The files of several names that a comparison of candidates came across.
struct LinkedCandidates {
    private struct File: Hashable {
        var inode: UInt64
        var isParents: Bool
    }

    let candidates: ComparisonCandidates
    private let device: DeviceNumber
    private var seen: Set<TreePath> = []
    private var waiting: Set<File> = []
    private var known: Set<File> = []

    /// - Parameter device: of the tree; what lies elsewhere has numbers of its own, and names nowhere else.
    init(_ candidates: ComparisonCandidates, device: DeviceNumber) {
        self.candidates = candidates
        self.device = device
    }

    /// Whether the content of a file need not be read to be known as equal.
    func shareContent(_ parent: FileStatus, _ tree: FileStatus) throws -> Bool {
        guard parent.kind == .regular, parent.size >= Self.worthAsking, parent.inode == tree.inode,
            tree.device == device
        else { return false }
        return try candidates.sharesContent(tree.inode)
    }

    /// Less is read as fast.
    private static let worthAsking: Int64 = 64 << 10

    mutating func note(_ path: TreePath, parent: FileStatus?, tree: FileStatus) {
        seen.insert(path)
        if let parent, parent.links > 1 { want(File(inode: parent.inode, isParents: true)) }
        if tree.links > 1, tree.device == device { want(File(inode: tree.inode, isParents: false)) }
    }

    private mutating func want(_ file: File) {
        if !known.contains(file) { waiting.insert(file) }
    }

    /// What is still to be compared: names of these files that were not; `nil` if there are none.
    mutating func takeRest() throws -> ComparisonScope? {
        let root = ComparisonScope()
        var isEmpty = true
        for file in waiting {
            let paths =
                try file.isParents ? candidates.parentPaths(file.inode) : candidates.treePaths(file.inode)
            for path in paths where seen.insert(path).inserted {
                _ = path.components.reduce(root) { $0.insert($1) }
                isEmpty = false
            }
        }
        known.formUnion(waiting)
        waiting = []
        return isEmpty ? nil : root
    }
}
