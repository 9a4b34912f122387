// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// The layers of a case as plain directories, each a whole tree copied from its parent's: what every driver must show.
final class ReferenceTrees {
    private let directory: OwnedFD
    private(set) var trees: [SharedFD] = []

    init(in directory: FilePath) throws {
        try Files.makeDirectory(directory, mode: 0o755)
        self.directory = try Files.openDirectory(directory)
    }

    var top: SharedFD? { trees.last }

    /// Adds a layer; nothing is left of one that is refused.
    func apply(_ entries: [EntrySpec]) throws {
        let tree = try copyOfTop()
        do {
            let source = MemorySource(entries, label: ConformanceRun.label)
            var applier = TreeApplier(root: tree.raw, form: PlainForm(), label: source.label)
            _ = try applier.apply(source)
        } catch {
            trees.removeLast()
            throw error
        }
    }

    /// Adds a writable tree over the top.
    @discardableResult
    func copyOfTop() throws -> SharedFD {
        // Refused layers keep their number, so that the next one finds a free name.
        let name = "\(UInt64.random(in: 0...UInt64.max))"
        try Files.makeDirectory(name, below: directory.raw, mode: 0o755)
        let tree = SharedFD(try Files.openDirectory(name, below: directory.raw))
        if let top {
            try TreeCopier.copy(from: top.raw, to: tree.raw)
        } else {
            try system("fchmod") { fchmod(tree.raw, 0o755) }
            try system("futimens") { clinux_utimensat(tree.raw, "", 0, 0, 0) }
        }
        trees.append(tree)
        return tree
    }

    /// What layer `index` changed.
    func changes(_ index: Int) throws -> [Change] {
        try TreeComparison.changes(parent: index == 0 ? nil : trees[index - 1].raw, tree: trees[index].raw)
    }
}
