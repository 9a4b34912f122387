// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage

/// An uncompressed tar by its index.
///
/// Nothing of it is written to disk, so names matter only as keys, and links are followed inside the index.
final class TarContents: ArchiveContents {
    private enum Entry: Sendable {
        case file(offset: Int64, size: Int64)
        case link(target: String)
    }

    let label: String
    private let file: SharedFD
    private let entries: [String: Entry]

    private static let mostEntries = 100_000
    /// As the kernel's own limit.
    private static let mostLinks = 40

    /// Whether the file begins with a header of a tar.
    static func isTar(_ file: SharedFD) throws -> Bool {
        var magic = [UInt8](repeating: 0, count: 5)
        try doing("read the archive") { _ = try system("pread") { pread(file.raw, &magic, 5, 257) } }
        return magic.elementsEqual("ustar".utf8)
    }

    init(_ file: SharedFD, label: String) throws {
        self.file = file
        self.label = label
        var limits = LayerLimits()
        limits.entries = Self.mostEntries
        var entries: [String: Entry] = [:]
        for member in try TarIndex(file, label: label, limits: limits).members {
            let name = String(decoding: member.path.bytes, as: UTF8.self)
            switch member.kind {
            case .regular: entries[name] = .file(offset: member.offset, size: member.size)
            case .hardLink(let target):
                entries[name] = .link(target: String(decoding: target.bytes, as: UTF8.self))
            case .symlink(let target):
                let directory = name.split(separator: "/").dropLast().joined(separator: "/")
                entries[name] = .link(
                    target: Self.key(String(decoding: target, as: UTF8.self), relativeTo: directory)
                )
            case .directory, .other: entries[name] = nil
            }
        }
        self.entries = entries
    }

    func member(_ name: String) throws -> ArchiveMember? {
        var key = Self.key(name, relativeTo: "")
        for _ in 0..<Self.mostLinks {
            switch entries[key] {
            case nil: return nil
            case .file(let offset, let size): return ArchiveMember(file: file, offset: offset, size: size)
            case .link(let target): key = target
            }
        }
        throw StorageError(.invalid, "\(label): the links at \(shown(name)) lead round in circles")
    }

    /// One name for each path: no `.`, no `..`, no doubled slash; `..` at the top stays there.
    static func key(_ path: String, relativeTo directory: String) -> String {
        var parts: [Substring] = path.hasPrefix("/") ? [] : directory.split(separator: "/")
        for part in path.split(separator: "/") {
            switch part {
            case ".": break
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return parts.joined(separator: "/")
    }
}
