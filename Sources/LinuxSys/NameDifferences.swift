// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A name that two directories do not both have for the same inode number.
package struct NameDifference: Sendable {
    package var name: TreePath
    package var inOld: Bool
    package var inNew: Bool
}

extension Files {
    /// Compares the names of two open directories by name and inode number, in no order.
    ///
    /// Quick where the file system gives equal names in the same order: only names that differ are taken out of the
    /// kernel's answer.
    package static func nameDifferences(_ old: CInt, _ new: CInt) throws(SystemError) -> [NameDifference] {
        let (one, two) = (RawNames(), RawNames())
        try one.read(old)
        try two.read(new)
        var (oldRest, newRest): ([Int], [Int]) = ([], [])
        var (i, j) = (0, 0)
        while i < one.count, j < two.count {
            if one.isSame(i, as: two, j) {
                i += 1
                j += 1
            } else if i + 1 < one.count, one.isSame(i + 1, as: two, j) {
                oldRest.append(i)
                i += 1
            } else if j + 1 < two.count, one.isSame(i, as: two, j + 1) {
                newRest.append(j)
                j += 1
            } else {
                oldRest.append(i)
                newRest.append(j)
                i += 1
                j += 1
            }
        }
        oldRest += i..<one.count
        newRest += j..<two.count
        return merge(oldRest.map { one.entry($0) }, newRest.map { two.entry($0) })
    }

    private typealias NumberedName = (name: TreePath, inode: UInt64)

    private static func merge(_ old: [NumberedName], _ new: [NumberedName]) -> [NameDifference] {
        var inodes = Dictionary(old.map { ($0.name, $0.inode) }, uniquingKeysWith: { first, _ in first })
        var differences: [NameDifference] = []
        for (name, inode) in new {
            let before = inodes.removeValue(forKey: name)
            if before != inode {
                differences.append(NameDifference(name: name, inOld: before != nil, inNew: true))
            }
        }
        for name in inodes.keys { differences.append(NameDifference(name: name, inOld: true, inNew: false)) }
        return differences
    }
}

/// The names of a directory as the kernel gives them: `struct linux_dirent64`.
private final class RawNames {
    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)
    private var offsets: [Int] = []

    var count: Int { offsets.count }

    deinit { buffer.deallocate() }

    func read(_ directory: CInt) throws(SystemError) {
        try system("lseek") { lseek(directory, 0, SEEK_SET) }
        var filled = 0
        while true {
            // The kernel gives what fits, and must have room for one name.
            if buffer.count - filled < 4096 { grow(filled) }
            let count = try system("getdents64") {
                clinux_getdents64(directory, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            if count == 0 { return }
            var offset = filled
            filled += count
            while offset < filled {
                if !isDot(offset) { offsets.append(offset) }
                offset += Int(buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
            }
        }
    }

    private func grow(_ filled: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: buffer.count * 4, alignment: 8)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<filled]))
        buffer.deallocate()
        buffer = larger
    }

    private func isDot(_ offset: Int) -> Bool {
        let dot = UInt8(ascii: ".")
        guard buffer[offset + 19] == dot else { return false }
        return buffer[offset + 20] == 0 || (buffer[offset + 20] == dot && buffer[offset + 21] == 0)
    }

    private func inode(_ index: Int) -> UInt64 {
        buffer.loadUnaligned(fromByteOffset: offsets[index], as: UInt64.self)
    }

    private func name(_ index: Int) -> UnsafePointer<CChar>? {
        buffer.baseAddress.map {
            UnsafePointer(($0 + offsets[index] + 19).assumingMemoryBound(to: CChar.self))
        }
    }

    func isSame(_ index: Int, as other: RawNames, _ otherIndex: Int) -> Bool {
        guard inode(index) == other.inode(otherIndex), let one = name(index), let two = other.name(otherIndex)
        else { return false }
        return strcmp(one, two) == 0
    }

    func entry(_ index: Int) -> (name: TreePath, inode: UInt64) {
        guard let name = name(index) else { return (.root, 0) }
        let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(name), count: strlen(name))
        return (TreePath(bytes: Array(bytes)), inode(index))
    }
}
