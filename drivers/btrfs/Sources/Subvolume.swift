// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import Glibc
import LinuxSys
import SystemPackage

/// The calls on subvolumes; `directory` is the open directory that holds `name`.
enum Subvolume {
    static func create(_ name: String, below directory: CInt) throws(SystemError) {
        try system("make subvolume", name) { cbtrfs_create(directory, name) }
    }

    /// Makes a subvolume that is what `source` is now; waits until it is on disk.
    static func snapshot(
        _ source: CInt,
        as name: String,
        below directory: CInt,
        readOnly: Bool = false
    ) throws(SystemError) {
        try system("make snapshot", name) { cbtrfs_snapshot(directory, name, source, readOnly ? 1 : 0) }
    }

    /// Opens a subvolume by its name; a plain directory is EINVAL.
    static func open(_ name: String, below directory: CInt) throws(SystemError) -> OwnedFD {
        let opened = try Files.openDirectory(name, below: directory)
        guard try isRoot(Files.status(of: opened.raw)) else {
            throw SystemError("open subvolume", name, .invalidArgument)
        }
        return opened
    }

    /// Whether this is the root directory of a subvolume.
    static func isRoot(_ status: FileStatus) -> Bool {
        status.kind == .directory && status.inode == CBTRFS_ROOT_INODE
    }

    static func isReadOnly(_ subvolume: CInt) throws(SystemError) -> Bool {
        var answer: CInt = 0
        try system("read a subvolume's flags") { cbtrfs_is_read_only(subvolume, &answer) }
        return answer != 0
    }

    /// Nothing can change a subvolume after this; waits until that is on disk.
    static func makeReadOnly(_ subvolume: CInt) throws(SystemError) {
        try system("make a subvolume read-only") { cbtrfs_set_read_only(subvolume, 1) }
    }

    /// Deletes a subvolume with all subvolumes in it; absent is success.
    ///
    /// Those in it are moved beside it first, as `removed.<number>`, so that neither their depth nor the length of their
    /// paths matters; a kill leaves them there.
    ///
    /// Cost: a few calls for each subvolume; the space is freed by the kernel afterwards.
    static func delete(_ name: String, below directory: CInt) throws(SystemError) {
        var pending = [name]
        while let last = pending.last {
            do throws(SystemError) {
                try deleteAlone(last, below: directory)
                pending.removeLast()
            } catch {
                guard error.errno == .directoryNotEmpty else { throw error }
                let moved = try moveNested(of: last, to: directory)
                // Else it would be tried for ever.
                if moved.isEmpty { throw error }
                pending += moved
            }
        }
    }

    private static func moveNested(of name: String, to directory: CInt) throws(SystemError) -> [String] {
        let subvolume = try open(name, below: directory)
        // A container may have made it so, and then nothing can be taken out of it.
        try system("make a subvolume writable", name) { cbtrfs_set_read_only(subvolume.raw, 0) }
        // What the search sees lacks what was done last.
        try Files.syncFileSystem(of: subvolume.raw)
        let names = InodeNames(in: subvolume.raw)
        var moved: [String] = []
        for nested in try nested(in: info(subvolume.raw).id, on: subvolume.raw) {
            guard let path = try names.path(ofDirectory: nested.directory) else { continue }
            let place = try Files.openBeneath(path, in: subvolume.raw, O_RDONLY | O_DIRECTORY)
            let root = try Files.openDirectory(nested.name, below: place.raw)
            try system("make a subvolume writable", nested.name.printable) {
                cbtrfs_set_read_only(root.raw, 0)
            }
            let new = "removed.\(UInt64.random(in: 0...UInt64.max))"
            try Files.rename(nested.name, below: place.raw, to: new, below: directory)
            moved.append(new)
        }
        return moved
    }

    /// Deletes a subvolume that has none in it (ENOTEMPTY otherwise); absent is success.
    static func deleteAlone(_ name: String, below directory: CInt) throws(SystemError) {
        _ = try systemAnswer("delete subvolume", name, expecting: .noSuchFileOrDirectory) {
            cbtrfs_delete(directory, name)
        }
    }

    /// A subvolume that lies in another one.
    struct Nested {
        var id: UInt64
        /// The inode of the directory that holds it.
        var directory: UInt64
        var name: TreePath
    }

    /// The subvolumes directly in the one with this id, not those in them.
    static func nested(in id: UInt64, on fd: CInt) throws(SystemError) -> [Nested] {
        let type = UInt8(BTRFS_ROOT_REF_KEY)
        let search = TreeSearch(fd, tree: CBTRFS_ROOT_TREE)
        var found: [Nested] = []
        try search.forEach(
            from: ItemKey(object: id, type: type, offset: 0),
            to: ItemKey(object: id, type: type, offset: .max)
        ) { key, data throws(SystemError) in
            found.append(
                Nested(
                    id: key.offset,
                    directory: try data.integer(at: 0, UInt64.self),
                    name: try data.name(at: 18, length: data.integer(at: 16, UInt16.self))
                )
            )
        }
        return found
    }

    struct Info {
        var id: UInt64
        /// The transaction that made it.
        var made: UInt64
        /// The last transaction that changed something in it.
        var changed: UInt64
        /// The last transaction that wrote its tree, for whatever reason.
        var written: UInt64
        var uuid: [UInt8]
        /// Of the subvolume that it is a snapshot of; zeros where it is of none.
        var originUUID: [UInt8]

        /// Whether it began as what `other` still is.
        func isSnapshot(of other: Self) -> Bool { originUUID == other.uuid && other.changed <= made }
    }

    static func info(_ subvolume: CInt) throws(SystemError) -> Info {
        var raw = cbtrfs_info()
        try system("look at a subvolume") { cbtrfs_info(subvolume, &raw) }
        return Info(
            id: raw.id,
            made: raw.made,
            changed: raw.changed,
            written: raw.written,
            uuid: withUnsafeBytes(of: raw.uuid) { Array($0) },
            originUUID: withUnsafeBytes(of: raw.origin_uuid) { Array($0) }
        )
    }
}
