// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The file system below the layers: its figures, and the space that is not free yet.
extension BtrfsDriver {
    package func status() throws -> [(name: String, value: String)] {
        try doing("ask the file system of \(home) for its figures") {
            let space = try spaceByKind()
            var facts = [("Home", home.string)]
            if let volume {
                let size = try volume.size()
                facts.append(("Volume", "\(size.used) bytes on disk, at most \(size.limit)"))
            }
            facts.append(("Data", "\(space.data_used) of \(space.data_total) bytes"))
            facts.append(("Metadata", "\(space.metadata_used) of \(space.metadata_total) bytes"))
            facts.append(("Quotas", try quota.mode().rawValue))
            facts.append(("Subvolumes to be freed", "\(try unfreed().count)"))
            return facts
        }
    }

    private func spaceByKind() throws(SystemError) -> cbtrfs_space {
        var space = cbtrfs_space()
        try system("ask for space") { cbtrfs_space(layers.raw, &space) }
        return space
    }

    /// Whether the kernel may find no room for further metadata but in what is set aside for data.
    ///
    /// It takes a tenth of the disk for a group, 1 GiB at most, and may write it twice. What several disks have room for
    /// depends on each.
    private func lacksRoomForMetadata() throws(SystemError) -> Bool {
        if try Subvolume.fileSystem(of: layers.raw).devices > 1 { return true }
        let total = try Files.space(of: layers.raw).total
        let space = try spaceByKind()
        let taken = space.data_total + 2 * space.metadata_total
        return taken >= total || total - taken < min(2 << 30, total / 5)
    }

    /// The ids of subvolumes that were deleted, on all of the file system, and are not freed yet.
    private func unfreed() throws(SystemError) -> Set<UInt64> {
        var ids: Set<UInt64> = []
        let type = UInt8(BTRFS_ORPHAN_ITEM_KEY)
        try TreeSearch(layers.raw, tree: CBTRFS_ROOT_TREE).forEach(
            from: ItemKey(object: CBTRFS_ORPHANS, type: type, offset: 0),
            to: ItemKey(object: CBTRFS_ORPHANS, type: type, offset: .max)
        ) { key, _ throws(SystemError) in ids.insert(key.offset) }
        return ids
    }
}

extension BtrfsDriver: DeferredFreeing {
    /// Waits for all that is deleted at the moment, by whomever: the kernel frees one after the other.
    package func waitUntilFreed(shouldStop: () -> Bool) throws {
        try doing("wait for the space of deleted layers in \(home)") {
            let waiting = try unfreed()
            while !shouldStop(), try !unfreed().isDisjoint(with: waiting) {
                // Wakes the kernel's thread that frees, which else looks every half minute.
                try system("sync") { cbtrfs_sync(layers.raw) }
                usleep(20_000)
            }
            // What the freed extents took is usable once it is committed.
            try system("sync") { cbtrfs_sync(layers.raw) }
            if shouldStop() { return }
            // On a file system that was full there is no room for a new name else; it can be done without.
            // Not until none is left: where no file has data the kernel makes another for the last that goes.
            let most: CInt = 4
            while !shouldStop(), (try? lacksRoomForMetadata()) ?? false {
                if cbtrfs_give_up_unused_groups(layers.raw, most) < most { break }
            }
            try volume?.trim()
        }
    }
}
