// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

extension Engine {
    /// Removes the directories of containers that no row names: a command was killed between the two.
    ///
    /// Skips what somebody holds.
    ///
    /// - Returns: the ids of the containers that are gone.
    func removeUnnamedDirectories(_ failed: (_ id: String, any Error) -> Void) throws -> [String] {
        let names = try Set(
            doing("list the directories of containers") {
                try [root.path, root.runPath].flatMap { path in
                    let path = path.appending("containers")
                    guard try Files.status(path) != nil else { return [String]() }
                    let directory = try Files.openDirectory(path)
                    return try Files.list(directory.raw).map {
                        String(decoding: $0.name.bytes, as: UTF8.self)
                    }
                }
            }
        )
        var removed: [String] = []
        for id in names.subtracting(try rows()).sorted() where ContainerNames.isID(id) {
            do {
                guard let lock = try root.lock(id, .exclusive, wait: false) else { continue }
                defer { withExtendedLifetime(lock) {} }
                // Whoever makes a container holds its lock from before its directory is made until it has a row.
                if try !rows().contains(id), !hasHolder(id) {
                    try doing("remove the directories of container \(id.prefix(12))") {
                        try Files.removeTree(root.containerPath(id))
                        try Files.removeTree(root.containerRunPath(id))
                    }
                    removed.append(id)
                    root.removeLock(id)
                }
            } catch {
                failed(id, error)
            }
        }
        return removed
    }

    private func rows() throws -> [String] {
        try root.database.query("SELECT id FROM containers") { $0.text(0) }
    }

    /// A supervisor tells those who wait when row and lock are gone already.
    private func hasHolder(_ id: String) -> Bool {
        guard let holder = try? holder(of: id), holder.supervisor > 0 else { return false }
        return Glibc.kill(holder.supervisor, 0) == 0
    }
}
