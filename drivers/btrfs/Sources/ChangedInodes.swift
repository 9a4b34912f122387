// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LayerDiff
import LinuxSys
import Synchronization
import SystemPackage

/// What a subvolume changed since a transaction, as names to be compared.
///
/// Whatever is done to a file or directory (content, any metadata, attributes, names given and taken, moves) writes its
/// inode's item with the number of the transaction, and nothing takes that back. So the inodes with a newer number are
/// all that changed and is still there; what is gone is missing in a directory that changed. Inodes keep their numbers
/// in a snapshot, so the names of a changed directory are compared by name and number.
///
/// Cost: the leaves of the tree that were written since.
struct ChangedInodes {
    private let names: InodeNames
    private let scan: InodeScan
    private var scopes: [UInt64: ComparisonScope] = [:]

    /// - Parameters:
    ///   - subvolume: one that nobody changes: read-only.
    ///   - transaction: what was written by later ones counts.
    init(in subvolume: CInt, names: InodeNames, after transaction: UInt64) {
        self.names = names
        scan = InodeScan(search: TreeSearch(subvolume), transaction: transaction)
    }

    mutating func scope() throws(SystemError) -> ComparisonScope {
        let root = ComparisonScope()
        scopes = [CBTRFS_ROOT_INODE: root]
        for inode in try scan.find() { try insert(inode) }
        return root
    }

    private mutating func insert(_ changed: InodeScan.Changed) throws(SystemError) {
        if changed.isDirectory {
            try scope(ofDirectory: changed.inode, changed.names.first)?.comparesNames = true
            return
        }
        // Names may stand in an older leaf than the inode.
        let isComplete = changed.names.count == Int(changed.links)
        for name in isComplete ? changed.names : try names.names(of: changed.inode) {
            _ = try scope(ofDirectory: name.directory)?.insert(name.name)
        }
    }

    /// `nil` for a directory that has no name.
    private mutating func scope(
        ofDirectory inode: UInt64,
        _ known: InodeNames.Name? = nil
    ) throws(SystemError) -> ComparisonScope? {
        var above: [(inode: UInt64, name: TreePath)] = []
        var next = inode
        while scopes[next] == nil {
            var name = above.isEmpty ? known : nil
            if name == nil { name = try names.names(of: next).first }
            guard let name else { return nil }
            above.append((next, name.name))
            try InodeNames.checkDepth(above.count)
            next = name.directory
        }
        var scope = scopes[next]
        for (inode, name) in above.reversed() {
            scope = scope?.insert(name)
            scopes[inode] = scope
        }
        return scope
    }
}

/// Finds the inodes of a subvolume that were written after a transaction.
struct InodeScan: Sendable {
    let search: TreeSearch
    let transaction: UInt64

    /// An inode of which the item was found, with those of its names that stood near it.
    struct Changed {
        var inode: UInt64
        var isDirectory: Bool
        var links: UInt32
        var names: [InodeNames.Name] = []
    }

    /// All inodes that changed, those of a large tree by two threads: what takes time is the kernel's copying.
    func find() throws(SystemError) -> [Changed] {
        let end = try search.lastObject()
        if end < 10_000 { return try find(from: .first, to: .last) }
        let middle = end / 2
        let other = Mutex<Result<[Changed], SystemError>>(.success([]))
        let thread = try Thread { [self] in
            let found = Result { () throws(SystemError) in
                try find(from: ItemKey(object: middle + 1, type: 0, offset: 0), to: .last)
            }
            other.withLock { $0 = found }
        }
        let own = Result { () throws(SystemError) in
            try find(from: .first, to: ItemKey(object: middle, type: .max, offset: .max))
        }
        thread.join()
        return try own.get() + other.withLock { $0 }.get()
    }

    private func find(from first: ItemKey, to last: ItemKey) throws(SystemError) -> [Changed] {
        var changed: [Changed] = []
        var isCurrent = false
        try search.forEach(
            from: first,
            to: last,
            since: transaction + 1,
            bufferSize: 1 << 20
        ) { key, data throws(SystemError) in
            switch Int32(key.type) {
            case BTRFS_INODE_ITEM_KEY:
                // A file without a name is open somewhere, and gone once that is closed.
                let links = try data.integer(at: 40, UInt32.self)
                isCurrent = try data.integer(at: 8, UInt64.self) > transaction && links > 0
                if !isCurrent { return }
                let isDirectory = try data.integer(at: 52, UInt32.self) & 0o170000 == 0o040000
                changed.append(Changed(inode: key.object, isDirectory: isDirectory, links: links))
            case BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY:
                guard isCurrent, let last = changed.indices.last, changed[last].inode == key.object else {
                    return
                }
                try InodeNames.read(key, data) { changed[last].names.append($0) }
            default: break
            }
        }
        return changed
    }
}

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
