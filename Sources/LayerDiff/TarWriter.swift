// SPDX-License-Identifier: Apache-2.0

import LinuxSys
package import Storage

/// Writes entries as a tar in the PAX interchange format.
///
/// The bytes are a function of the entries alone, for ever: layers are known by their digest, and one whose blob was
/// dropped must come out the same again. So these rules never change:
/// - No access or change times, no user or group names; never sparse; no padding beyond the two blocks of zeros.
/// - A name goes into the ustar header if it has at most 100 bytes, else into name and prefix, split at the last slash
///   that lets both fit, else into a `path` record, its first 100 bytes staying in the header. So do link targets.
/// - A number goes into the header if its octal digits fit, else into a record, the header's field being 0.
/// - `mtime` has a record if it is negative, has nanoseconds or does not fit.
/// - Attributes are `SCHILY.xattr.` records. Records are sorted by key. Text that is not UTF-8 is announced by
///   `hdrcharset=BINARY`.
/// - Whiteouts are empty files named `.wh.NAME` and `.wh..wh..opq`, mode 0, owner 0, time 0.
package final class TarWriter {
    private let sink: any ByteSink

    package init(_ sink: any ByteSink) { self.sink = sink }

    /// Writes one entry; `content` is called for a regular file and must emit exactly its size.
    ///
    /// Throws for a socket, for which tar has no form, and for names that a reader would take for a whiteout.
    package func append(
        _ entry: LayerEntry,
        content: (_ emit: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        try begin(entry)
        guard case .regular(let size) = entry.kind else { return }
        var written: Int64 = 0
        try content { piece in
            written += Int64(piece.count)
            if written > size { throw Self.wrongSize(entry) }
            try sink.write(piece)
        }
        if written != size { throw Self.wrongSize(entry) }
        try zeros(-size & 511)
    }

    /// Writes an entry without content, or a regular file of zeros.
    package func append(_ entry: LayerEntry) throws {
        try begin(entry)
        guard case .regular(let size) = entry.kind else { return }
        try zeros((size + 511) & ~511)
    }

    /// Writes the end mark.
    ///
    /// The sink is not flushed.
    package func finish() throws { try zeros(1024) }

    private static func wrongSize(_ entry: LayerEntry) -> StorageError {
        StorageError(.corrupt, "write \(entry.path) to a tar: its size changed meanwhile")
    }

    private static let block = [UInt8](repeating: 0, count: 64 << 10)

    private func zeros(_ count: Int64) throws {
        var left = count
        while left > 0 {
            let piece = Int(min(left, Int64(Self.block.count)))
            try Self.block.withUnsafeBytes { try sink.write(UnsafeRawBufferPointer(rebasing: $0[..<piece])) }
            left -= Int64(piece)
        }
    }

    /// Writes the headers.
    private func begin(_ entry: LayerEntry) throws {
        var header = TarHeaderWriter(type: try Self.type(of: entry))
        switch entry.kind {
        case .whiteout, .opaque: header.set(name: try Self.markName(entry))
        default:
            if TarNames.hasMark(entry.path.bytes) {
                throw StorageError(
                    .invalid,
                    "write \(entry.path) to a tar: a name with .wh. would be read as a whiteout"
                )
            }
            header.set(name: Self.name(of: entry))
            header.set(mode: entry.mode, uid: entry.uid, gid: entry.gid)
            header.set(mtime: entry.mtime)
            for attribute in entry.xattrs { header.set(attribute) }
        }
        switch entry.kind {
        case .regular(let size): header.set(size: size)
        case .symlink(let target): header.set(linkName: target)
        case .hardLink(let target): header.set(linkName: target.bytes)
        case .characterDevice(let device), .blockDevice(let device): header.set(device: device)
        default: break
        }
        let blocks = header.blocks()
        try blocks.withUnsafeBytes { try sink.write($0) }
    }

    private static func type(of entry: LayerEntry) throws -> UInt8 {
        switch entry.kind {
        case .regular, .whiteout, .opaque: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symlink: UInt8(ascii: "2")
        case .characterDevice: UInt8(ascii: "3")
        case .blockDevice: UInt8(ascii: "4")
        case .directory: UInt8(ascii: "5")
        case .fifo: UInt8(ascii: "6")
        case .socket:
            throw StorageError(.unsupported, "write \(entry.path) to a tar: a tar cannot hold a socket")
        }
    }

    /// A directory's name ends with a slash; the root is `./`.
    private static func name(of entry: LayerEntry) -> [UInt8] {
        guard entry.kind == .directory else { return entry.path.bytes }
        return (entry.path.isRoot ? [UInt8(ascii: ".")] : entry.path.bytes) + [UInt8(ascii: "/")]
    }

    private static func markName(_ entry: LayerEntry) throws -> [UInt8] {
        if entry.kind == .opaque { return entry.path.appending(".wh..wh..opq").bytes }
        guard let parent = entry.path.parent else {
            throw StorageError(.invalid, "write a whiteout of the root to a tar: it has no name")
        }
        return parent.appending(TreePath(bytes: TarNames.mark + entry.path.name.bytes)).bytes
    }
}
