// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage

/// Makes archives readable by position: what comes by a pipe or is compressed as a whole is copied, unpacked,
/// to a file without a name on the store's file system.
enum Spool {
    static func seekable(_ file: SharedFD, label: String, for store: ImageStore) throws -> SharedFD {
        let status = try doing("look at \(label)") { try Files.status(of: file.raw) }
        let isFile = status.kind == .regular
        // A descriptor that was read from before begins where it stands.
        let start =
            isFile ? try doing("read \(label)", { try system("lseek") { lseek(file.raw, 0, SEEK_CUR) } }) : 0
        if isFile, start == 0, try compression(of: file, label: label) == .none { return file }
        let source = try DecompressedSource(DescriptorSource(file), label: label)
        let spool = try store.blobs.unnamedFile()
        try copy(source, to: spool, label: label)
        return spool
    }

    private static func compression(of file: SharedFD, label: String) throws -> Compression {
        var head = [UInt8](repeating: 0, count: 16)
        let count = try doing("read \(label)") { try system("pread") { pread(file.raw, &head, 16, 0) } }
        return head.withUnsafeBytes { Compression(magic: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }

    /// Writes all of `source` at the file's position.
    static func copy(_ source: any ByteSource, to file: SharedFD, label: String) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            let count = try source.read(into: buffer)
            if count == 0 { return }
            try doing("copy \(label) into the store") {
                try Files.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: file.raw)
            }
        }
    }
}
