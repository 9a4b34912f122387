// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage

/// One file of an archive: a part of a file that is open, read by position.
struct ArchiveMember: Sendable {
    let file: SharedFD
    let offset: Int64
    let size: Int64

    /// The same bytes have the same place, whatever names lead to them.
    struct Place: Hashable {
        let descriptor: CInt
        let offset: Int64
    }

    var place: Place { Place(descriptor: file.raw, offset: offset) }

    func source() -> FileRegion { FileRegion(file, offset: offset, length: size) }

    /// The whole content of a document.
    func contents(limit: Int, label: String) throws -> [UInt8] {
        guard size <= limit else {
            throw StorageError(.invalid, "\(label): \(size) bytes, more than \(limit)")
        }
        let region = source()
        var bytes = [UInt8](repeating: 0, count: Int(size))
        var done = 0
        while done < bytes.count {
            let count = try doing("read \(label)") {
                try bytes.withUnsafeMutableBytes { buffer in
                    try region.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
                }
            }
            guard count > 0 else { throw StorageError(.invalid, "\(label): it ends too early") }
            done += count
        }
        return bytes
    }
}

/// What an archive of images holds, by name: a tar, or a directory.
protocol ArchiveContents: Sendable {
    /// What is being read, for messages.
    var label: String { get }

    /// The regular file `name`, symlinks followed inside the archive; `nil` if there is none.
    func member(_ name: String) throws -> ArchiveMember?
}

extension ArchiveContents {
    func blob(_ digest: Digest) throws -> ArchiveMember? { try member("blobs/sha256/\(digest.hex)") }

    /// A document that a descriptor points to, verified.
    func document(_ descriptor: Descriptor, limit: Int) throws -> [UInt8] {
        guard let member = try blob(descriptor.digest) else {
            throw StorageError(.invalid, "\(label): it has no blob \(descriptor.digest)")
        }
        let bytes = try member.contents(limit: limit, label: "\(label): blob \(descriptor.digest)")
        guard Int64(bytes.count) == descriptor.size else {
            throw StorageError(
                .invalid,
                "\(label): blob \(descriptor.digest) has \(bytes.count) bytes in place of \(descriptor.size)"
            )
        }
        guard Digest.sha256(of: bytes) == descriptor.digest else {
            throw StorageError(
                .invalid,
                "\(label): the content of blob \(descriptor.digest) has another digest"
            )
        }
        return bytes
    }
}

/// A directory, such as an OCI image layout.
///
/// Files are opened as they are asked for, never outside of it.
final class DirectoryContents: ArchiveContents {
    let label: String
    private let directory: SharedFD

    init(_ path: FilePath) throws {
        label = path.string
        directory = try doing("open \(path)") { SharedFD(try Files.open(path, O_RDONLY | O_DIRECTORY)) }
    }

    func member(_ name: String) throws -> ArchiveMember? {
        do {
            // Not to hang on a fifo.
            let file = SharedFD(try RootedResolver.open(name, in: directory.raw, O_RDONLY | O_NONBLOCK))
            let status = try Files.status(of: file.raw)
            return status.kind == .regular ? ArchiveMember(file: file, offset: 0, size: status.size) : nil
        } catch {
            if error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory { return nil }
            throw StorageError(error, doing: "\(label): open \(shown(name))")
        }
    }
}
