// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import SystemPackage

/// How layers lie on disk and become a root file system.
///
/// A driver knows files, mounts and devices under its own home, `<root>/drivers/<name>/`, and nothing else: names,
/// parents, reference counts and locks belong to `LayerStore`, which calls each layer from one place at a time.
///
/// Life of an image layer: `apply` (without its parent, so that layers unpack side by side), then `seal`.
/// Life of a container's layer: `prepare`, `mount` for writing, `changes`, `remove`; `seal` adopts it as a parent.
/// After `seal` a layer never changes. Nothing of an id is visible in `list` before `prepare` or `apply` began it.
/// Extra powers are extra protocols, asked for with `as?`. All calls are synchronous.
///
/// Durability: `sync` makes everything that returned before it durable; no other call waits for the disk.
package protocol StorageDriver: Sendable {
    /// The name users give, and of the folder below `drivers/`.
    static var name: String { get }

    /// Whether the driver works at `home`: does the real thing in a scratch directory on the real backing file system
    /// and cleans up. `home` need not exist; then its nearest existing ancestor is tried.
    static func probe(home: FilePath) -> ProbeResult

    /// Opens `home`, making its directories if they are missing. An option it does not know is an error.
    init(home: FilePath, options: [String: String]) throws

    /// Whether `apply` must be given the parents, because this driver's layers are whole trees.
    var appliesOverParent: Bool { get }

    /// Makes the writable layer `id`. Undoes everything on failure. `options.size` is honoured or refused.
    func prepare(_ id: LayerID, over parents: LayerChain, options: LayerOptions) throws

    /// Unpacks `source` as the layer `id`, all or nothing. `parents` is `nil` unless `appliesOverParent`.
    func apply(_ source: any LayerEntrySource, to id: LayerID, over parents: LayerChain?) throws -> Undecided

    /// Makes `id` immutable and resolves what `apply` left undecided. For an applied layer it must come once all
    /// parents are sealed; for a prepared layer `undecided` is empty.
    func seal(_ id: LayerID, over parents: LayerChain, undecided: Undecided) throws

    /// The layer's tree as one sees it inside a container. Writable only for a prepared layer, mounted once at a time.
    func mount(_ id: LayerID, over parents: LayerChain, access: LayerAccess) throws -> MountedLayer

    /// What `id` changed against its direct parent. Cost: O(changes) where the driver can.
    func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet

    /// Removes `id`; absent is success. O(1) to the caller: moved to the driver's trash, freed by `emptyTrash`.
    func remove(_ id: LayerID) throws

    /// Frees what `remove` left; returns early when `shouldStop` says so. Bytes are not promised to be free before.
    func emptyTrash(shouldStop: () -> Bool) throws

    /// Every layer on disk, half-made ones too, in no order.
    func list() throws -> [LayerID]

    /// Whether the layer's own tree is there; what `list` gives may be less, like a directory beside it. Cost: one look.
    func holds(_ id: LayerID) throws -> Bool

    /// What `id` alone occupies, without its parents. Cost: a walk.
    func usage(_ id: LayerID) throws -> LayerUsage

    /// Facts for `driver info`: pairs of name and value, in the order to print.
    func status() throws -> [(name: String, value: String)]

    /// Returns when all that was written through this driver is on disk (one syncfs).
    func sync() throws
}

extension StorageDriver {
    /// The parents that `apply` was given, for a driver that asks for them by `appliesOverParent`.
    package func required(_ parents: LayerChain?, toUnpack label: String) throws -> LayerChain {
        if let parents { return parents }
        throw StorageError(.invalid, "unpack \(label): storage driver \(Self.name) must be given the parents")
    }
}

/// What `StorageDriver.probe` found.
package enum ProbeResult: Sendable {
    /// It works here; `detail` says how, e.g. `layers by descriptor`.
    case works(detail: String)
    /// This machine or file system cannot serve it; another driver may be tried.
    case unavailable(reason: String, remedy: String?)
    /// Something is broken that should work: stop.
    case failed(StorageError)
}

package struct LayerOptions: Sendable {
    /// Limit of the layer's size in bytes.
    package var size: Int64?

    package init(size: Int64? = nil) { self.size = size }
}

package enum LayerAccess: Sendable {
    case readOnly
    case readWrite
    /// Writable, and what is written is removed with the layer: nothing of it needs to reach the disk, and the layer is
    /// not mounted again.
    case scratch
}

package struct LayerUsage: Hashable, Sendable {
    /// Bytes allocated on disk; a file of several names counts once.
    package var bytes: Int64
    package var inodes: Int64

    package init(bytes: Int64, inodes: Int64) {
        self.bytes = bytes
        self.inodes = inodes
    }
}

/// A layer's tree, held by descriptor: a detached mount that vanishes with its last descriptor, or a plain directory.
package struct MountedLayer: ~Copyable, Sendable {
    /// The root of the tree; may be an O_PATH descriptor, from which `.` is opened for calls that refuse one.
    package let root: OwnedFD
    /// Whether `root` is a detached mount, which move_mount(2) can attach as it is; else a plain directory.
    package let isMount: Bool
    /// A process that serves the mount and that whoever holds the container must adopt (pidfd).
    package let companion: SharedFD?

    package init(root: consuming OwnedFD, isMount: Bool, companion: SharedFD? = nil) {
        self.root = root
        self.isMount = isMount
        self.companion = companion
    }

    /// The tree's root as a detached mount, whatever it is now.
    package consuming func asDetachedMount() throws(SystemError) -> OwnedFD {
        if isMount { return root }
        return try DetachedMount.clone("", below: root.raw)
    }
}

/// A driver whose layers can be shown to a user namespace without changing owners on disk.
///
/// The engine makes an id-mapped clone of `home`; the child attaches it in its own mount namespace, changes into
/// `<clone>/<workingDirectory>`, makes the mount, and detaches the clone (tried: FEASIBILITY.md section 8).
package protocol IDMappedMounting: StorageDriver {
    /// How the child makes the mount of `id`.
    func idMappedMount(_ id: LayerID, over parents: LayerChain) throws -> IDMappedMount
}

package enum IDMappedMount: Sendable {
    /// mount(2) of `type` with `data`, whose names are relative to `directory`, itself below the driver's home.
    case fileSystem(type: String, directory: FilePath, data: String)
    /// The directory below the driver's home is the tree.
    case directory(FilePath)
    /// What `StorageDriver.mount` gives can be id-mapped itself; the child makes no mount.
    case mount
}

/// A driver that copies a layer as a whole, at a cost that does not depend on what is in it.
package protocol LayerSnapshotting: StorageDriver {
    /// Makes `id` what `source` is at one moment, in use or not; then `seal` comes, over `base`. Undoes everything on failure.
    ///
    /// - Parameters:
    ///   - parents: what `source` stands on.
    ///   - base: the lower part of them, on which `id` will stand.
    ///   - isFinal: whether the copy is sealed as it is; else it can be mounted for writing before.
    /// - Returns: what `source` had changed at that moment against its direct parent, to be read in `id`. `nil`, and nothing
    ///   was made, where the copy would be more than these changes, and those between its parent and `base`, are as
    ///   layers: then they have to be applied.
    func snapshot(
        _ source: LayerID,
        over parents: LayerChain,
        as id: LayerID,
        over base: LayerChain,
        isFinal: Bool
    ) throws -> ChangeSet?
}

/// A driver whose layers refer to what they took over from their parents.
package protocol SharedUsageMeasuring: StorageDriver {
    /// Bytes of `id` that are not its own, though it refers to them. Cost: a walk of the whole.
    func sharedBytes(_ id: LayerID) throws -> Int64
}

/// A driver for which the kernel keeps something of its home as long as the machine runs.
package protocol HomeReleasing: StorageDriver {
    /// Takes that away from the kernel, before the home is removed.
    func releaseHome() throws
}

/// A driver that frees space after `emptyTrash` has returned.
package protocol DeferredFreeing: StorageDriver {
    /// Returns when all that was removed before is free, or when `shouldStop` says so; asks it some ten times a second.
    func waitUntilFreed(shouldStop: () -> Bool) throws
}
