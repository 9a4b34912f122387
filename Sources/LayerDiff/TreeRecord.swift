// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
import SystemPackage

/// What every file of a tree looked like at one moment, by which a later look tells what was not touched since.
///
/// A file whose inode, size, mtime and ctime are the same has the same content and metadata: nobody can set a ctime.
/// One that was written within the clock's last ticks before the moment could be written again without a new ctime,
/// so it is not recorded.
package struct TreeRecord: Sendable {
    private struct Look: Hashable, Sendable {
        var inode: UInt64
        var size: Int64
        var mtime: Timestamp
        var ctime: Timestamp

        init(_ status: FileStatus) {
            (inode, size, mtime, ctime) = (status.inode, status.size, status.mtime, status.ctime)
        }

        init(inode: UInt64, size: Int64, mtime: Timestamp, ctime: Timestamp) {
            (self.inode, self.size, self.mtime, self.ctime) = (inode, size, mtime, ctime)
        }
    }

    /// Coarse clocks tick every 1 to 10 ms.
    private static let racyNanoseconds: Int64 = 100_000_000
    private static let magic = Array("strata tree record 1\n".utf8)

    private var looks: [TreePath: Look] = [:]

    /// Whether the file at `path` is as it was.
    package func isUntouched(_ path: TreePath, _ status: FileStatus) -> Bool { looks[path] == Look(status) }

    /// Looks at every file below `tree`.
    package static func take(of tree: CInt) throws(SystemError) -> TreeRecord {
        let root = try Files.open(".", below: tree, O_RDONLY | O_DIRECTORY)
        let now = Timestamp.now
        let isBefore = now.nanoseconds < UInt32(racyNanoseconds)
        let nanoseconds = Int64(now.nanoseconds) - racyNanoseconds + (isBefore ? 1_000_000_000 : 0)
        let limit = Timestamp(seconds: now.seconds - (isBefore ? 1 : 0), nanoseconds: UInt32(nanoseconds))
        var record = TreeRecord()
        let stack = DirectoryStack(root: root.raw)
        var pending: [(path: TreePath, names: [DirectoryEntry])] = [(.root, try Files.list(root.raw))]
        while let last = pending.indices.last {
            guard let entry = pending[last].names.popLast() else {
                pending.removeLast()
                try stack.pop()
                continue
            }
            guard let status = try Files.status(entry.name, below: stack.top) else { continue }
            let path = pending[last].path.appending(entry.name)
            if status.ctime < limit { record.looks[path] = Look(status) }
            if status.kind == .directory {
                try stack.push(entry.name)
                pending.append((path, try Files.list(stack.top)))
            }
        }
        return record
    }

    /// As bytes for a file, which only this machine reads again.
    package var bytes: [UInt8] {
        var out = Self.magic
        func put(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
        }
        out.reserveCapacity(looks.count * 100)
        put(UInt64(looks.count))
        for (path, look) in looks {
            put(UInt32(path.bytes.count))
            out.append(contentsOf: path.bytes)
            put(look.inode)
            put(look.size)
            for time in [look.mtime, look.ctime] {
                put(time.seconds)
                put(time.nanoseconds)
            }
        }
        return out
    }

    private init() {}

    /// Reads what `bytes` gave; `nil` where that is not what they are.
    package init?(bytes: [UInt8]) {
        guard bytes.starts(with: Self.magic) else { return nil }
        var reader = RecordReader(bytes: bytes, position: Self.magic.count)
        guard let count = reader.integer(UInt64.self) else { return nil }
        for _ in 0..<count {
            guard let length = reader.integer(UInt32.self), let path = reader.take(Int(length)),
                let inode = reader.integer(UInt64.self), let size = reader.integer(Int64.self),
                let mtime = reader.time(), let ctime = reader.time()
            else { return nil }
            looks[TreePath(bytes: path)] = Look(inode: inode, size: size, mtime: mtime, ctime: ctime)
        }
    }
}

private struct RecordReader {
    let bytes: [UInt8]
    var position: Int

    mutating func take(_ count: Int) -> [UInt8]? {
        guard count <= bytes.count - position else { return nil }
        defer { position += count }
        return Array(bytes[position..<(position + count)])
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        let size = MemoryLayout<T>.size
        guard size <= bytes.count - position else { return nil }
        defer { position += size }
        return bytes.withUnsafeBytes {
            T(littleEndian: $0.loadUnaligned(fromByteOffset: position, as: T.self))
        }
    }

    mutating func time() -> Timestamp? {
        guard let seconds = integer(Int64.self), let nanoseconds = integer(UInt32.self) else { return nil }
        return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
    }
}
