// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LinuxSys
import SystemPackage

/// The names of inodes in a subvolume that nobody changes.
final class InodeNames {
    struct Name: Hashable {
        /// The inode of the directory.
        var directory: UInt64
        var name: TreePath
    }

    private let search: TreeSearch
    private var directories: [UInt64: TreePath] = [CBTRFS_ROOT_INODE: .root]

    /// - Parameter subvolume: stays the caller's.
    init(in subvolume: CInt) { search = TreeSearch(subvolume) }

    func names(of inode: UInt64) throws(SystemError) -> [Name] {
        var names: [Name] = []
        try search.forEach(
            from: ItemKey(object: inode, type: UInt8(BTRFS_INODE_REF_KEY), offset: 0),
            to: ItemKey(object: inode, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max)
        ) { key, data throws(SystemError) in
            try Self.read(key, data) { names.append($0) }
        }
        return names
    }

    /// All paths of an inode.
    func paths(of inode: UInt64) throws(SystemError) -> [TreePath] {
        var paths: [TreePath] = []
        for name in try names(of: inode) {
            if let directory = try path(ofDirectory: name.directory) {
                paths.append(directory.appending(name.name))
            }
        }
        return paths
    }

    /// `nil` for a directory that has no name.
    func path(ofDirectory inode: UInt64) throws(SystemError) -> TreePath? {
        var above: [(inode: UInt64, name: TreePath)] = []
        var next = inode
        while directories[next] == nil {
            guard let name = try names(of: next).first else { return nil }
            above.append((next, name.name))
            try Self.checkDepth(above.count)
            next = name.directory
        }
        guard var path = directories[next] else { return nil }
        for (inode, name) in above.reversed() {
            path = path.appending(name)
            directories[inode] = path
        }
        return path
    }

    /// A file system that is damaged could lead round in circles.
    static func checkDepth(_ depth: Int) throws(SystemError) {
        if depth > 1 << 24 {
            throw SystemError("find the path of a directory", nil, .tooManySymbolicLinkLevels)
        }
    }

    /// Gives the names that an item of names holds.
    static func read(_ key: ItemKey, _ data: ItemData, _ body: (Name) -> Void) throws(SystemError) {
        let isExtended = Int32(key.type) == BTRFS_INODE_EXTREF_KEY
        // An extended one says in each name what the others say in the key.
        let head = isExtended ? 18 : 10
        var offset = 0
        while offset < data.count {
            let directory = try isExtended ? data.integer(at: offset, UInt64.self) : key.offset
            let length = try data.integer(at: offset + head - 2, UInt16.self)
            body(Name(directory: directory, name: try data.name(at: offset + head, length: length)))
            offset += head + Int(length)
        }
    }
}
