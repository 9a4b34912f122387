// SPDX-License-Identifier: Apache-2.0

import DriverCatalog
import Glibc
package import Images
package import LayerStore
import LinuxSys
import Storage
package import StoreRoot
package import SystemPackage

/// Containers and images of one store: what the command line (and later the API) calls.
///
/// State is on disk; any number of engines may work on one store. A reading engine never writes and never waits.
package final class Engine: Sendable {
    package struct Options: Sendable {
        /// `nil`: the user's default store.
        package var root: FilePath?
        /// In place of `/run/strata`.
        package var runRoot: FilePath?
        /// For commands that make layers; `nil`: the store's default.
        package var driver: String?
        /// Keys as `<driver>.<option>`.
        package var driverOptions: [String: String] = [:]
        /// Whether what a command reports done is on disk.
        package var isDurable = true
        /// Gets what the user should know though nothing failed.
        package var warn: @Sendable (String) -> Void = { _ in }

        package init() {}
    }

    package let options: Options
    package let root: StoreRoot
    package let layers: LayerStore
    package let images: ImageStore
    let containers: ContainerTable

    package init(_ options: Options, access: StoreRoot.Access) throws {
        self.options = options
        let root = try StoreRoot.open(
            options.root ?? StoreRoot.defaultPath(),
            run: options.runRoot,
            access: access
        )
        self.root = root
        layers = try LayerStore(
            root,
            drivers: DriverCatalog.entries,
            options: options.driverOptions,
            isDurable: options.isDurable,
            warn: options.warn
        )
        images = ImageStore(root, durable: options.isDurable, warn: options.warn)
        containers = ContainerTable(root: root)
        if access == .write {
            recoverContainers()
            recoverMounts()
        }
    }

    /// The driver that this command uses.
    package func driverName() throws -> String { try options.driver ?? layers.defaultDriver() }

    /// Runs `body`, which makes something.
    ///
    /// Where the disk has no space for it, what it had taken is free again when this throws.
    func making<T>(_ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as StorageError where error.code == .noSpace {
            layers.settleSpace { Interruption.isRequested }
            throw error
        }
    }

    /// Runs `body`, which removes something: on a full disk with the space that the store keeps back for that.
    func removing<T>(_ body: () throws -> T) rethrows -> T {
        root.useReserveIfFull()
        defer { layers.restoreReserve { Interruption.isRequested } }
        return try body()
    }
}
