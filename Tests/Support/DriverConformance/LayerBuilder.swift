// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LinuxSys
package import Storage
import SystemPackage

/// An entry of a layer with its content, as a case states it.
package struct EntrySpec: Sendable {
    package var entry: LayerEntry
    /// Pieces of the content and where they lie; the rest of the size is holes.
    package var content: [(offset: Int64, bytes: [UInt8])] = []

    package static func file(
        _ path: TreePath,
        _ text: String = "",
        mode: UInt32 = 0o644,
        uid: UInt32 = 0,
        gid: UInt32 = 0,
        mtime: Timestamp = standardTime,
        xattrs: [String: [UInt8]] = [:]
    ) -> EntrySpec {
        let bytes = Array(text.utf8)
        let kind = LayerEntry.Kind.regular(size: Int64(bytes.count))
        let entry = Self.entry(path, kind, mode, uid, gid, mtime, xattrs)
        return EntrySpec(entry: entry, content: [(0, bytes)])
    }

    /// A file of `size` bytes with data at the given offsets only.
    package static func sparse(
        _ path: TreePath,
        size: Int64,
        _ pieces: [(offset: Int64, bytes: [UInt8])]
    ) -> EntrySpec {
        EntrySpec(entry: entry(path, .regular(size: size), 0o644, 0, 0, standardTime, [:]), content: pieces)
    }

    package static func directory(
        _ path: TreePath,
        mode: UInt32 = 0o755,
        uid: UInt32 = 0,
        gid: UInt32 = 0,
        mtime: Timestamp = standardTime,
        xattrs: [String: [UInt8]] = [:]
    ) -> EntrySpec {
        EntrySpec(entry: entry(path, .directory, mode, uid, gid, mtime, xattrs))
    }

    package static func symlink(_ path: TreePath, to target: String, uid: UInt32 = 0) -> EntrySpec {
        EntrySpec(entry: entry(path, .symlink(target: Array(target.utf8)), 0o777, uid, 0, standardTime, [:]))
    }

    package static func hardLink(_ path: TreePath, to target: TreePath) -> EntrySpec {
        EntrySpec(entry: entry(path, .hardLink(target: target), 0o644, 0, 0, standardTime, [:]))
    }

    package static func other(_ path: TreePath, _ kind: LayerEntry.Kind, mode: UInt32 = 0o644) -> EntrySpec {
        EntrySpec(entry: entry(path, kind, mode, 0, 0, standardTime, [:]))
    }

    package static func whiteout(_ path: TreePath) -> EntrySpec {
        EntrySpec(entry: LayerEntry(path: path, kind: .whiteout))
    }

    package static func opaque(_ path: TreePath) -> EntrySpec {
        EntrySpec(entry: LayerEntry(path: path, kind: .opaque))
    }

    package static let standardTime = Timestamp(seconds: 1_500_000_000, nanoseconds: 123_456_789)

    private static func entry(
        _ path: TreePath,
        _ kind: LayerEntry.Kind,
        _ mode: UInt32,
        _ uid: UInt32,
        _ gid: UInt32,
        _ mtime: Timestamp,
        _ xattrs: [String: [UInt8]]
    ) -> LayerEntry {
        let attributes = xattrs.map { ExtendedAttribute(name: Array($0.key.utf8), value: $0.value) }.sorted()
        return LayerEntry(
            path: path,
            kind: kind,
            mode: mode,
            uid: uid,
            gid: gid,
            mtime: mtime,
            xattrs: attributes
        )
    }
}

/// A layer from memory.
package final class MemorySource: LayerEntrySource {
    package let label: String
    private let entries: [EntrySpec]
    private var position = 0

    package init(_ entries: [EntrySpec], label: String = "layer from memory") {
        self.entries = entries
        self.label = label
    }

    package func next() -> LayerEntry? {
        guard position < entries.count else { return nil }
        position += 1
        return entries[position - 1].entry
    }

    private var current: EntrySpec { entries[position - 1] }

    private var size: Int64 {
        if case .regular(let size) = current.entry.kind { return size }
        return 0
    }

    package func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var offset: Int64 = 0
        func zeros(upTo end: Int64) throws {
            while offset < end {
                let piece = [UInt8](repeating: 0, count: Int(min(end - offset, 64 << 10)))
                try piece.withUnsafeBytes(body)
                offset += Int64(piece.count)
            }
        }
        for piece in current.content {
            try zeros(upTo: piece.offset)
            try piece.bytes.withUnsafeBytes(body)
            offset += Int64(piece.bytes.count)
        }
        try zeros(upTo: size)
    }

    package func writeContent(to file: CInt) throws {
        for piece in current.content {
            try system("lseek") { lseek(file, Int(piece.offset), SEEK_SET) }
            try Files.writeAll(piece.bytes, to: file)
        }
        try system("ftruncate") { ftruncate(file, Int(size)) }
    }
}
