// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
package import Storage

/// Passes a source through and writes the same entries as a tar on the way, so that each file is read once.
///
/// Sockets are passed on, but are not in the tar, which cannot hold them.
package final class TarTee: LayerEntrySource {
    private let source: any LayerEntrySource
    private let writer: TarWriter
    /// A regular file whose content was not asked for yet.
    private var pending: LayerEntry?

    package init(_ source: any LayerEntrySource, sink: any ByteSink) {
        self.source = source
        writer = TarWriter(sink)
    }

    package var label: String { source.label }

    package func next() throws -> LayerEntry? {
        try writePending()
        guard let entry = try source.next() else { return nil }
        switch entry.kind {
        case .regular: pending = entry
        case .socket: break
        default: try writer.append(entry)
        }
        return entry
    }

    package func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard let entry = pending else { return try source.readContent(body) }
        pending = nil
        try writer.append(entry) { emit in
            try source.readContent { piece in
                try emit(piece)
                try body(piece)
            }
        }
    }

    /// The content goes through the tar, which has no holes.
    package func writeContent(to file: CInt) throws { try writeWithHoles(to: file) }

    private func writePending() throws {
        if pending == nil { return }
        try readContent { _ in }
    }

    /// Takes what is left of the source and writes the end mark.
    package func finish() throws {
        while try next() != nil {}
        try writer.finish()
    }
}

extension LayerEntrySource {
    /// Writes what `readContent` gives; zeros that fill whole blocks of the file become holes.
    func writeWithHoles(to file: CInt) throws {
        var position: Int64 = 0
        var isHole = false
        try readContent { piece in
            isHole = piece.count >= 4096 && position & 4095 == 0 && piece.isZero
            if isHole {
                _ = try doing("write \(label)") {
                    try system("lseek") { lseek(file, off_t(piece.count), SEEK_CUR) }
                }
            } else {
                try doing("write \(label)") { try Files.writeAll(piece, to: file) }
            }
            position += Int64(piece.count)
        }
        // Only a hole at the end leaves the size open.
        guard isHole else { return }
        _ = try doing("write \(label)") { try system("ftruncate") { ftruncate(file, off_t(position)) } }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether all bytes are zero.
    ///
    /// Cost: usually a look at the first 16.
    fileprivate var isZero: Bool {
        guard let base = baseAddress, count > 16 else { return allSatisfy { $0 == 0 } }
        return prefix(16).allSatisfy { $0 == 0 } && memcmp(base, base + 16, count - 16) == 0
    }
}
