// SPDX-License-Identifier: Apache-2.0

import LinuxSys

/// Finds the paths of inodes in an ext4 file system.
///
/// A directory knows the one above it. A file does not, but the kernel puts it near its directory: directories are read
/// from the file's group outward, until as many names are found as the file has.
final class NameFinder {
    private struct Place: Hashable {
        var directory: UInt32
        var name: [UInt8]
    }

    let image: Ext4Image
    private var places: [UInt32: Set<Place>] = [:]
    private var sought: Set<UInt32> = []
    private var directories: [UInt32: [Ext4Image.Name]] = [:]
    private var paths: [UInt32: TreePath] = [Ext4Image.rootInode: .root]

    init(_ image: Ext4Image) { self.image = image }

    /// The paths of a file, or of a directory; none if it is gone.
    func paths(of inode: UInt32) throws -> [TreePath] {
        if !sought.contains(inode) { try find([inode]) }
        return try (places[inode] ?? []).compactMap { place in
            try path(ofDirectory: place.directory)?.appending(TreePath(bytes: place.name))
        }
    }

    /// The names of a directory, read once.
    private func names(of directory: UInt32) throws -> [Ext4Image.Name] {
        if let known = directories[directory] { return known }
        let names = try image.names(of: try image.inode(directory))
        directories[directory] = names
        return names
    }

    /// The path of a directory; `nil` if it is not there.
    func path(ofDirectory inode: UInt32) throws -> TreePath? {
        var trail: [(inode: UInt32, name: [UInt8])] = []
        var next = inode
        while paths[next] == nil {
            guard try image.inode(next).isDirectory else { return nil }
            let own = try names(of: next)
            guard let above = own.first(where: { $0.name == Self.dots })?.inode, above != next,
                try image.inode(above).isDirectory,
                let name = try names(of: above).first(where: { $0.inode == next && !Self.isDots($0.name) })
            else { return nil }
            trail.append((next, name.name))
            next = above
            if trail.count > Int(image.inodeCount) { throw DiskDamage("directories lie in a circle") }
        }
        guard var path = paths[next] else { return nil }
        for step in trail.reversed() {
            path = path.appending(TreePath(bytes: step.name))
            paths[step.inode] = path
        }
        return path
    }

    private static let dots: [UInt8] = [0x2E, 0x2E]
    private static func isDots(_ name: [UInt8]) -> Bool { name == dots || name == [0x2E] }

    /// Looks for all names of these inodes at once.
    func find(_ inodes: Set<UInt32>) throws {
        var missing: [UInt32: Int] = [:]
        for inode in inodes.subtracting(sought) {
            let found = try image.inode(inode)
            if found.isInUse { missing[inode] = found.isDirectory ? 1 : Int(found.links) }
        }
        sought.formUnion(inodes)
        for group in order(near: Set(missing.keys.map { image.flexGroup(of: $0) })) {
            if missing.isEmpty { return }
            try image.eachDirectory(inGroup: group) { number, inode in
                for entry in try image.names(of: inode) where missing[entry.inode] != nil {
                    if Self.isDots(entry.name) { continue }
                    note(Place(directory: number, name: entry.name), of: entry.inode, &missing)
                }
                return !missing.isEmpty
            }
        }
    }

    private func note(_ place: Place, of inode: UInt32, _ missing: inout [UInt32: Int]) {
        guard places[inode, default: []].insert(place).inserted, let count = missing[inode] else { return }
        missing[inode] = count > 1 ? count - 1 : nil
    }

    /// All groups, those first that lie together with one of the files.
    private func order(near flexGroups: Set<UInt32>) -> [Int] {
        let all = image.inodeTables.indices
        let isNear = all.map {
            flexGroups.contains(image.flexGroup(of: UInt32($0) * image.inodesPerGroup + 1))
        }
        return all.filter { isNear[$0] } + all.filter { !isNear[$0] }
    }
}
