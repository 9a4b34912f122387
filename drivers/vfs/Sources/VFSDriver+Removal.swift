// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage
import SystemPackage

extension VFSDriver {
    package func remove(_ id: LayerID) throws {
        try doing("remove layer \(id)") {
            let trash = try open(.trash)
            // The tree first: a record without a tree is listed, and so removed by the next try.
            for folder in [Folder.layers, .staging, .work] {
                let source = try open(folder)
                do throws(SystemError) {
                    let name = "\(id).\(UInt64.random(in: 0...UInt64.max))"
                    try Files.rename(id.rawValue, below: source.raw, to: name, below: trash.raw)
                } catch {
                    if error.errno != .noSuchFileOrDirectory { throw error }
                }
            }
        }
    }

    package func emptyTrash(shouldStop: () -> Bool) throws {
        try doing("empty the trash of \(home)") {
            let trash = try open(.trash)
            var failure: SystemError?
            for entry in try Files.list(trash.raw) {
                do throws(SystemError) {
                    if try !discard(entry.name, below: trash.raw, levels: 3, shouldStop) { return }
                } catch {
                    // Another process may empty it too; and one bad item does not stop the others.
                    if error.errno != .noSuchFileOrDirectory { failure = failure ?? error }
                }
            }
            if let failure { throw failure }
        }
    }

    /// Removes a tree, asking whether to stop between the directories of its first levels; false if it stopped.
    private func discard(
        _ name: TreePath,
        below directory: CInt,
        levels: Int,
        _ shouldStop: () -> Bool
    ) throws(SystemError) -> Bool {
        if shouldStop() { return false }
        if levels > 0, try Files.status(name, below: directory)?.kind == .directory {
            let tree = try Files.openDirectory(name, below: directory)
            for entry in try Files.list(tree.raw) where entry.kind == .directory {
                if try !discard(entry.name, below: tree.raw, levels: levels - 1, shouldStop) { return false }
            }
        }
        try Files.removeTree(name, below: directory)
        return true
    }
}
