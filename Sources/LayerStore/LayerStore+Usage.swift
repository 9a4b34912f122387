// SPDX-License-Identifier: Apache-2.0

import LinuxSys
package import Storage
import StoreRoot
import SystemPackage

/// What one layer occupies on disk.
package struct LayerDiskUsage: Sendable {
    package var driver: String
    package var id: LayerID
    /// `nil` for data that no row names: `system prune` removes it.
    package var row: LayerRow?
    package var usage: LayerUsage
    /// How many containers and layers stand on it directly.
    package var users: Int
}

extension LayerStore {
    /// What every layer occupies alone, data without rows included.
    ///
    /// Cost: a walk of all layers.
    ///
    /// Layers that vanish meanwhile are left out; what cannot be read is given to `warn`.
    package func diskUsage() throws -> [LayerDiskUsage] {
        let rows = try root.database.layers()
        let byID = Dictionary(rows.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var users: [LayerID: Int] = [:]
        for row in rows { if let parent = row.parent { users[parent, default: 0] += 1 } }
        var list: [LayerDiskUsage] = []
        for name in try driversWithState() {
            let driver = try driver(name)
            for id in try driver.list().sorted() {
                do {
                    list.append(
                        LayerDiskUsage(
                            driver: name,
                            id: id,
                            row: byID[id],
                            usage: try driver.usage(id),
                            users: users[id] ?? 0
                        )
                    )
                } catch let error as StorageError where error.code == .notFound {
                    continue
                } catch let error as SystemError where error.errno == .noSuchFileOrDirectory {
                    continue
                } catch {
                    warn("measure layer \(id) of \(name): \(error)")
                }
            }
        }
        return list
    }
}
