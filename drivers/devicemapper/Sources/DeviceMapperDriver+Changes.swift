// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
package import Storage
import SystemPackage

extension DeviceMapperDriver {
    package func changes(_ id: LayerID, over parents: LayerChain) throws -> ChangeSet {
        try doing("find the changes of layer \(id) (devicemapper)") {
            let tree = try tree(id)
            let parent = try parents.top.map { try self.tree($0) }
            let changes = try TreeComparison.changes(
                parent: parent?.raw,
                tree: tree.raw,
                candidates: try parents.top.flatMap { try candidates(id, over: $0) }
            )
            return ChangeSet(changes: changes, tree: tree, form: PlainForm())
        }
    }

    /// What may differ, from the blocks that the layer does not share with its parent; both are mounted.
    ///
    /// - Returns: `nil` where that cannot be told and both trees must be walked.
    private func candidates(_ id: LayerID, over parent: LayerID) throws -> ComparisonCandidates? {
        if pool.options.walksForChanges { return nil }
        do {
            return try blockCandidates(id, over: parent).candidates()
        } catch let damage as DiskDamage {
            noteWalk(id, damage.description)
            return nil
        }
    }

    func blockCandidates(_ id: LayerID, over parent: LayerID) throws -> BlockCandidates {
        let (record, parentRecord) = (try record(id), try self.record(parent))
        let (difference, devices, pool) = try pool.locked { pool in
            let names = (pool.deviceName(parent.rawValue), pool.deviceName(id.rawValue))
            let isLive = record.state != .sealed
            return (
                try pool.difference(
                    of: parentRecord.device,
                    and: record.device,
                    freezing: isLive ? names.1 : nil
                ),
                (try DeviceMapper.info(names.0), try DeviceMapper.info(names.1)),
                pool.record
            )
        }
        guard pool.fileSystem == .ext4 else {
            throw DiskDamage("changed blocks are read on ext4 only, not on \(pool.fileSystem.rawValue)")
        }
        guard let one = devices.0, let two = devices.1 else {
            throw SystemError("read the devices of", "\(id) and \(parent)", .noSuchAddressOrDevice)
        }
        return try BlockCandidates(
            parent: try reader(of: one),
            tree: try reader(of: two),
            blocks: difference.blocks,
            blockSize: pool.blockSectors * 512
        )
    }

    /// The file system's own view: its metadata is in the same pages.
    private func reader(of device: DeviceMapper.Device) throws(SystemError) -> DiskReader {
        DiskReader(
            try BlockNode.with(device.number, in: pool.directory) { path throws(SystemError) in
                SharedFD(try Files.open(path, O_RDONLY))
            }
        )
    }

    // MARK: - Saying so

    private var walkNote: FilePath { pool.directory.appending("walked") }

    /// Keeps why a layer's changes had to be found by walking both trees, for `driver info`.
    private func noteWalk(_ id: LayerID, _ why: String) {
        _ = try? Files.replace(walkNote, with: Array("layer \(id): \(why)".utf8), durable: false)
    }

    /// How changes are found, for `driver info`.
    func changesStatus(_ record: PoolRecord) -> [(name: String, value: String)] {
        guard record.fileSystem == .ext4 else {
            return [("Changes", "by walking both trees (changed blocks are read on ext4 only)")]
        }
        let note = (try? Files.contents(walkNote, limit: 4096)).map { String(decoding: $0, as: UTF8.self) }
        return [("Changes", "by changed blocks")] + (note.map { [("Last walk of both trees", $0)] } ?? [])
    }

    // MARK: - Usage

    package func usage(_ id: LayerID) throws -> LayerUsage {
        try doing("measure layer \(id) (devicemapper)") {
            let record = try record(id)
            let mounted = try tree(id)
            let (blocks, size) = try pool.locked { pool in
                let name = pool.deviceName(id.rawValue)
                let isLive = record.state != .sealed
                let difference = try pool.difference(
                    of: record.origin,
                    and: record.device,
                    freezing: isLive ? name : nil
                )
                return (difference.added, Int64(pool.record.blockSectors) * 512)
            }
            return LayerUsage(bytes: Int64(blocks) * size, inodes: try inodes(of: mounted.raw, record))
        }
    }

    /// How many more inodes the layer's file system has than that of its origin; the root directory at least.
    private func inodes(of tree: CInt, _ record: LayerRecord) throws -> Int64 {
        let here = try Files.space(of: tree).usedInodes
        guard let origin = try list().first(where: { try recordIfAny($0)?.device == record.origin }) else {
            // An empty ext4 has ten of its own beside the root.
            return max(1, here - 10)
        }
        let below = try self.tree(origin)
        return max(1, here - (try Files.space(of: below.raw).usedInodes))
    }
}
