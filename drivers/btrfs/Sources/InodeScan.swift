// SPDX-License-Identifier: Apache-2.0

import CBtrfs
import LayerDiff
import LinuxSys
import Synchronization
import SystemPackage

/// Finds the inodes of a subvolume that were written after a transaction.
///
/// What takes time is the kernel's copying of all items of the leaves that were written since. More than half of them are
/// entries of directories, each of which is there twice; so those of large directories are passed over, and what such a
/// directory got and lost is found by the inodes that have a name in it, or had: see `PassedDirectories`.
struct InodeScan: Sendable {
    let tree: TreeSearch
    let parent: TreeSearch
    let transaction: UInt64
    private let passesEntries: Bool
    /// Parts in which a large tree is read, so that two threads have the same to do wherever the changes are.
    private static let parts: UInt64 = 16

    /// - Parameters:
    ///   - tree: one that nobody changes, with all that was done to it written; stays the caller's.
    ///   - parent: what it was made from, as it was then; stays the caller's.
    ///   - transaction: what was written by later ones counts.
    ///   - hasSubvolumes: whether there may be subvolumes in the tree: they have names, but no inode.
    init(_ tree: CInt, over parent: CInt, after transaction: UInt64, hasSubvolumes: Bool) {
        self.tree = TreeSearch(tree)
        self.parent = TreeSearch(parent)
        self.transaction = transaction
        passesEntries = !hasSubvolumes
    }

    /// What a scan found.
    struct Found: Sendable {
        /// All that changed and are still there.
        var changed: [ChangedInode] = []
        /// Names of inodes that are gone: some of them, each certainly.
        var lost: [InodeNames.Name] = []

        static func += (found: inout Self, other: Self) {
            found.changed += other.changed
            found.lost += other.lost
        }
    }

    /// All inodes that changed, those of a large tree by two threads.
    func find() throws(SystemError) -> [ChangedInode] {
        let end = try tree.endOfInodes()
        if end < 10_000 {
            return try find(from: .first, to: .last, paced: false, SearchBuffers()).changed
        }
        let next = Atomic<UInt64>(0)
        let other = Mutex<Result<Found, SystemError>>(.success(Found()))
        // If there can be no other thread, this one reads all parts.
        let thread = try? Thread { [self] in
            let found = Result { () throws(SystemError) in try findParts(next, end) }
            other.withLock { $0 = found }
        }
        let own = Result { () throws(SystemError) in try findParts(next, end) }
        thread?.join()
        var found = try own.get()
        found += try other.withLock { $0 }.get()
        try PassedDirectories(found).complete(self)
        return found.changed
    }

    /// Reads one part after the other, as long as nobody else has taken it.
    private func findParts(_ next: borrowing Atomic<UInt64>, _ end: UInt64) throws(SystemError) -> Found {
        let buffers = SearchBuffers()
        let size = end / Self.parts + 1
        var found = Found()
        while true {
            let part = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if part >= Self.parts { return found }
            found += try find(
                from: ItemKey(object: part * size, type: 0, offset: 0),
                to: part == Self.parts - 1
                    ? .last : ItemKey(object: (part + 1) * size - 1, type: .max, offset: .max),
                paced: passesEntries,
                buffers
            )
        }
    }

    /// - Parameter paced: whether it is done in steps, so that entries of large directories can be passed over.
    private func find(
        from first: ItemKey,
        to last: ItemKey,
        paced: Bool,
        _ buffers: SearchBuffers
    ) throws(SystemError) -> Found {
        let shortest: UInt32 = 32
        var items = ScannedItems(after: transaction)
        var most: UInt32 = paced ? shortest : .max
        var isGuess = false
        var start: ItemKey? = first
        while let from = start {
            start = try tree.search(
                from: from,
                to: last,
                since: transaction + 1,
                most: most,
                into: buffers.large
            ) { key, data throws(SystemError) in try items.take(key, data) }.next
            if paced, start != nil, let passed = items.passEntries() {
                start = ItemKey(object: passed, type: UInt8(BTRFS_DIR_INDEX_KEY) + 1, offset: 0)
                // The next answer is to end in the next directory: often that is as far as this one was.
                most = max(shortest, min(items.distance, 1 << 16) + 8)
                isGuess = true
            } else if isGuess {
                most = shortest
                isGuess = false
            } else if most < 1 << 16 {
                // Where no large directories are, steps would only cost.
                most *= 2
            }
        }
        try compare(items.changed, buffers)
        var found = Found(changed: items.changed)
        if items.changed.contains(where: \.isPassedOver) {
            // Else they are no cheaper than what was passed over.
            for gap in items.gaps.prefix(64 + 2 * items.changed.count) {
                found.lost += try lostNames(in: gap, buffers)
            }
        }
        return found
    }

    /// Names may stand in an older leaf than the inode.
    private func completeNames(of changed: ChangedInode, _ buffers: SearchBuffers) throws(SystemError) {
        if changed.names.count == Int(changed.item.links) { return }
        changed.names = []
        try tree.forEach(
            from: ItemKey(object: changed.inode, type: UInt8(BTRFS_INODE_REF_KEY), offset: 0),
            to: ItemKey(object: changed.inode, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max),
            into: buffers.large
        ) { key, data throws(SystemError) in
            try InodeNames.read(key, data) { changed.names.append($0) }
        }
    }

    private func compare(_ changed: [ChangedInode], _ buffers: SearchBuffers) throws(SystemError) {
        var row: [ChangedInode] = []
        func end() throws(SystemError) {
            if row.count == 1 { try compare(row[0], buffers) } else { try compare(row: row, buffers) }
            row.removeAll(keepingCapacity: true)
        }
        for inode in changed {
            try completeNames(of: inode, buffers)
            if inode.item.made > transaction { continue }
            // Between theirs stands what tells where their content is, which may be much.
            let isSmall = !inode.item.isDirectory && inode.item.size <= 1 << 16
            if let last = row.last, !isSmall || last.inode + 1 != inode.inode { try end() }
            if isSmall { row.append(inode) } else { try compare(inode, buffers) }
        }
        try end()
    }

    /// Looks at what files whose numbers follow each other were in the parent.
    private func compare(row: [ChangedInode], _ buffers: SearchBuffers) throws(SystemError) {
        guard let first = row.first?.inode, let last = row.last?.inode else { return }
        try parent.forEach(
            from: ItemKey(object: first, type: UInt8(BTRFS_INODE_ITEM_KEY), offset: 0),
            to: ItemKey(object: last, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max),
            into: buffers.large
        ) { key, data throws(SystemError) in
            let inode = row[Int(key.object - first)]
            switch Int32(key.type) {
            case BTRFS_INODE_ITEM_KEY: inode.before = ChangedInode.Before(item: try InodeItem(data))
            case BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY:
                try InodeNames.read(key, data) { inode.before?.names?.append($0) }
            default: break
            }
        }
        for inode in row where inode.before?.names == inode.names { inode.before?.names = nil }
    }

    /// Looks at what an inode was in the parent.
    private func compare(_ changed: ChangedInode, _ buffers: SearchBuffers) throws(SystemError) {
        let inode = changed.inode
        // Nearly all have one name: there are these two items, and to look for more takes as long again.
        var before = try before(inode, most: 2, buffers.small)
        if let found = before, found.names?.count != Int(found.item.links) {
            before = try self.before(inode, most: .max, buffers.large)
        }
        // So there is less to be thrown away by the one thread at the end.
        if before?.names == changed.names { before?.names = nil }
        changed.before = before
        if let before, changed.item.isDirectory, !changed.isPassedOver {
            changed.removed = try changed.entries.removed(
                from: inode,
                of: parent,
                sizes: (before.item.size, changed.item.size),
                buffers
            )
        }
    }

    private func before(
        _ inode: UInt64,
        most: UInt32,
        _ buffer: SearchBuffer
    ) throws(SystemError) -> ChangedInode.Before? {
        var before: ChangedInode.Before?
        try parent.forEach(
            from: ItemKey(object: inode, type: UInt8(BTRFS_INODE_ITEM_KEY), offset: 0),
            to: ItemKey(object: inode, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max),
            most: most,
            into: buffer
        ) { key, data throws(SystemError) in
            if Int32(key.type) == BTRFS_INODE_ITEM_KEY {
                before = ChangedInode.Before(item: try InodeItem(data))
            } else {
                try InodeNames.read(key, data) { before?.names?.append($0) }
            }
        }
        return before
    }

    /// The names that inodes of these numbers have in the parent, if the tree has none of the inodes.
    private func lostNames(
        in gap: ClosedRange<UInt64>,
        _ buffers: SearchBuffers
    ) throws(SystemError) -> [InodeNames.Name] {
        let first = ItemKey(object: gap.lowerBound, type: 0, offset: 0)
        let last = ItemKey(object: gap.upperBound, type: UInt8(BTRFS_INODE_EXTREF_KEY), offset: .max)
        var names: [InodeNames.Name] = []
        var isAlone = false
        func take(_ key: ItemKey, _ data: ItemData) throws(SystemError) {
            switch Int32(key.type) {
            case BTRFS_INODE_ITEM_KEY: isAlone = try data.integer(at: 40, UInt32.self) == 1
            case BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY:
                try InodeNames.read(key, data) { names.append($0) }
            default: break
            }
        }
        // Of one inode with one name there is no more than this before its content.
        if gap.count == 1 {
            try parent.forEach(from: first, to: last, most: 2, into: buffers.small, take)
        }
        if gap.count > 1 || !names.isEmpty && !isAlone {
            names = []
            try parent.forEach(from: first, to: last, into: buffers.large, take)
        }
        if names.isEmpty { return [] }
        // An older leaf may have them.
        var isThere = false
        try tree.forEach(from: first, to: last, most: 1, into: buffers.small) { _, _ in isThere = true }
        return isThere ? [] : names
    }
}

/// Memory for the searches of one thread.
struct SearchBuffers {
    /// For one inode without its content.
    let small = SearchBuffer(byteCount: 2 << 10)
    let large = SearchBuffer(byteCount: 128 << 10)
}

/// What the items say that were written since a transaction, in their order.
private struct ScannedItems {
    private let transaction: UInt64
    private(set) var changed: [ChangedInode] = []
    /// Numbers that lie between those of two inodes near to each other.
    private(set) var gaps: [ClosedRange<UInt64>] = []
    /// Whose items come.
    private var object = UInt64.max
    /// The same, if it is changed.
    private var current: ChangedInode?
    /// Of a directory whose entries come; 0 where that is not known.
    private var directorySize: UInt64 = 0
    /// Its entries so far, and the bytes of their names.
    private var entries: (count: UInt64, bytes: UInt64) = (0, 0)
    /// Items since entries were passed over.
    private var count: UInt32 = 0
    /// How many items were between the entries last passed over and those before.
    private(set) var distance: UInt32 = 0

    init(after transaction: UInt64) { self.transaction = transaction }

    mutating func take(_ key: ItemKey, _ data: ItemData) throws(SystemError) {
        if key.object != object { begin(key.object) }
        count &+= 1
        switch Int32(key.type) {
        case BTRFS_INODE_ITEM_KEY:
            if try data.integer(at: 52, UInt32.self) & 0o170000 == 0o040000 {
                directorySize = try data.integer(at: 16, UInt64.self)
            }
            guard try data.integer(at: 8, UInt64.self) > transaction else { return }
            let item = try InodeItem(data)
            // A file without a name is open somewhere, and gone once that is closed.
            if item.links == 0 { return }
            let inode = ChangedInode(key.object, item)
            current = inode
            changed.append(inode)
        case BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY:
            guard let current else { return }
            try InodeNames.read(key, data) { current.names.append($0) }
        case BTRFS_DIR_ITEM_KEY: countEntry(data)
        case BTRFS_DIR_INDEX_KEY:
            countEntry(data)
            try current?.entries.add(number: key.offset, data, after: transaction)
        default: break
        }
    }

    private mutating func begin(_ next: UInt64) {
        // More than a few are hardly all gone: leaves lie between that are older.
        if next > object, next - object > 1, next - object <= 8 { gaps.append(object + 1...next - 1) }
        object = next
        current = nil
        directorySize = 0
        entries = (0, 0)
    }

    private mutating func countEntry(_ entry: ItemData) {
        entries.count += 1
        // The name follows a head.
        entries.bytes += UInt64(max(entry.count - 30, 1))
    }

    /// - Returns: the directory whose entries came last, if it is worth it not to see the others; it then knows that.
    mutating func passEntries() -> UInt64? {
        // Each name is in two items, and counts twice in the size; that of a damaged directory may be anything.
        guard entries.count > 0, directorySize > entries.bytes,
            (directorySize - entries.bytes) &* entries.count / entries.bytes >= 48
        else { return nil }
        current?.isPassedOver = true
        distance = count &- UInt32(truncatingIfNeeded: entries.count)
        count = 0
        return object
    }
}
