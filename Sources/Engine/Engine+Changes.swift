// SPDX-License-Identifier: Apache-2.0

import LayerStore
import LinuxSys
package import Storage

extension Engine {
    /// What a container changed, as `diff` lists it: sorted by path bytes, without the root.
    ///
    /// It may run meanwhile.
    package func changes(of container: String) throws -> [Change] {
        let record = try containers.find(container)
        return try whileThere(record) { try layers.changes(record.layer).changes.filter { !$0.path.isRoot } }
    }
}
