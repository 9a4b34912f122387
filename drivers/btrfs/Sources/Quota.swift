// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Limits of layers by the file system's quota groups; nothing of it is there until a layer asks for a limit.
///
/// Simple quotas (Linux 6.7) are preferred where none are on: they count extents for the subvolume that wrote them, which
/// costs little, is what a layer's size means, and holds for subvolumes that a container makes in its layer, since
/// these join the layer's group. Full quotas, where an administrator has them on or the kernel has no others, limit
/// what is the layer's alone; there a container that may make subvolumes can write past its limit in them.
///
/// `quota/<id>` holds limit and subvolume number of a layer. It is written before the groups are made and goes
/// after them, so nothing of a limit is lost or left over; and it tells when somebody has turned the quotas off.
struct Quota {
    private let top: CInt
    private static let directory = "quota"

    init(top: CInt) { self.top = top }

    enum Mode: String {
        case off
        case simple
        case full
    }

    private struct Record {
        var limit: UInt64
        var subvolume: UInt64

        /// The group of the layer and of all subvolumes below it.
        var group: UInt64 { 1 << 48 | subvolume }
    }

    // MARK: - Setting limits

    /// Limits what the layer writes; `subvolume` is its root.
    func limit(_ id: LayerID, to size: Int64, subvolume: CInt) throws {
        let record = Record(limit: UInt64(clamping: size), subvolume: try Subvolume.info(subvolume).id)
        try Files.ensureDirectory(Self.directory, below: top)
        try write(record, for: id)
        var mode = try mode()
        if mode == .off { mode = try turnOn() }
        try apply(record, mode)
    }

    /// Whether a layer has a limit.
    func limits(_ id: LayerID) throws(SystemError) -> Bool { try read(id) != nil }

    /// Makes sure that a layer that has a limit is held to it.
    ///
    /// Cost for others: one look for a file.
    func check(_ id: LayerID) throws {
        guard let record = try read(id) else { return }
        let mode = try mode()
        if mode == .off {
            throw StorageError(
                .unsupported,
                "layer \(id) is limited to \(record.limit) bytes, but the quotas of its file system were turned off",
                remedy: "turn them on again (btrfs quota enable --simple on the file system)"
            )
        }
        if try !isSet(record, mode) { try apply(record, mode) }
    }

    /// Simple quotas where the kernel has them, else full ones, which count all that is there first.
    private func turnOn() throws(SystemError) -> Mode {
        let simple = try systemAnswer(
            "turn on simple quotas",
            expecting: .invalidArgument,
            Errno(rawValue: ENOTTY),
            .notSupported
        ) { cbtrfs_enable_simple_quota(top) }
        if simple != nil { return .simple }
        try system("turn on quotas") { cbtrfs_enable_quota(top) }
        try system("wait for the count of what is there") { cbtrfs_wait_for_rescan(top) }
        return .full
    }

    private func apply(_ record: Record, _ mode: Mode) throws(SystemError) {
        // Each subvolume has a group of its own while quotas are on.
        guard mode == .simple else {
            try system("limit a subvolume") { cbtrfs_limit_qgroup(top, record.subvolume, 0, record.limit) }
            return
        }
        _ = try systemAnswer("make a quota group", expecting: .fileExists) {
            cbtrfs_make_qgroup(top, record.group)
        }
        try system("limit a quota group") { cbtrfs_limit_qgroup(top, record.group, record.limit, 0) }
        _ = try systemAnswer("join a quota group", expecting: .fileExists) {
            cbtrfs_assign_qgroup(top, record.subvolume, record.group)
        }
    }

    // MARK: - Looking

    func mode() throws(SystemError) -> Mode {
        var mode = Mode.off
        try find(type: UInt8(BTRFS_QGROUP_STATUS_KEY), object: 0) { data throws(SystemError) in
            let flags = try data.integer(at: 16, UInt64.self)
            // On, and by simple quotas.
            if flags & 1 != 0 { mode = flags & 8 != 0 ? .simple : .full }
        }
        return mode
    }

    private func isSet(_ record: Record, _ mode: Mode) throws(SystemError) -> Bool {
        var isSet = false
        let id = mode == .simple ? record.group : record.subvolume
        try find(type: UInt8(BTRFS_QGROUP_LIMIT_KEY), object: id) { data throws(SystemError) in
            // Flags, the limit of what is referred to, that of what is its own.
            isSet = try data.integer(at: mode == .simple ? 8 : 16, UInt64.self) == record.limit
        }
        return isSet
    }

    /// Finds an item of the quota tree; there is no such tree while quotas are off.
    private func find(
        type: UInt8,
        object: UInt64,
        _ body: (ItemData) throws(SystemError) -> Void
    ) throws(SystemError) {
        let key = ItemKey(object: 0, type: type, offset: object)
        do throws(SystemError) {
            try TreeSearch(top, tree: CBTRFS_QUOTA_TREE).forEach(from: key, to: key) {
                _,
                data throws(SystemError) in
                try body(data)
            }
        } catch {
            if error.errno != .noSuchFileOrDirectory { throw error }
        }
    }

    // MARK: - Removing

    /// Lets a removed layer be larger than its limit: even to take subvolumes out of it is a write to it.
    func lift(_ id: LayerID) throws(SystemError) {
        guard let record = try read(id), try mode() != .off else { return }
        for group in [record.group, record.subvolume] {
            // The largest number stands for none.
            _ = try systemAnswer("lift a limit", expecting: .noSuchFileOrDirectory) {
                cbtrfs_limit_qgroup(top, group, .max, .max)
            }
        }
    }

    /// Removes the groups of layers that are gone, as far as the kernel has freed what they count.
    ///
    /// - Parameter isThere: whether a layer is still there.
    func sweep(_ isThere: (LayerID) throws(SystemError) -> Bool) throws(SystemError) {
        guard try Files.status(Self.directory, below: top) != nil else { return }
        let directory = try Files.openDirectory(Self.directory, below: top)
        for entry in try Files.list(directory.raw) {
            guard let id = LayerID(entry.name.printable), try !isThere(id) else { continue }
            if let record = try read(id), try mode() != .off {
                guard try removeGroup(record.subvolume), try removeGroup(record.group) else { continue }
            }
            try Files.unlink(entry.name, below: directory.raw)
        }
    }

    /// Whether the group is gone; it stays while something is counted in it.
    private func removeGroup(_ id: UInt64) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try system("remove a quota group") { cbtrfs_remove_qgroup(top, id) }
            return true
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory: return true
            case .resourceBusy: return false
            default: throw error
            }
        }
    }

    // MARK: - Records

    private func path(_ id: LayerID) -> String { "\(Self.directory)/\(id)" }

    private func write(_ record: Record, for id: LayerID) throws(SystemError) {
        let file = try Files.open(
            path(id),
            below: top,
            O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
            mode: 0o600
        )
        try Files.writeAll(Array("\(record.limit) \(record.subvolume)\n".utf8), to: file.raw)
        try file.close()
    }

    private func read(_ id: LayerID) throws(SystemError) -> Record? {
        guard try Files.status(path(id), below: top) != nil else { return nil }
        let bytes = try Files.contents(path(id), below: top, limit: 256)
        let numbers = String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }.map {
            UInt64($0)
        }
        // A power cut left it empty; then it was never used.
        guard numbers.count == 2, let limit = numbers[0], let subvolume = numbers[1] else { return nil }
        return Record(limit: limit, subvolume: subvolume)
    }
}
