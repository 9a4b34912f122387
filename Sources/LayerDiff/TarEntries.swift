// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage

/// The members of a layer's tar in OCI terms: clean paths, whiteouts told from files, contents.
final class TarEntries {
    let members: TarMembers
    private var contentSize: Int64 = 0
    private var regions: [SparseRegion]?
    private var hasContent = false

    init(_ members: TarMembers) { self.members = members }

    func next() throws -> LayerEntry? {
        hasContent = false
        guard let member = try members.next() else { return nil }
        do throws(TarNames.Fault) {
            let entry = try entry(for: member)
            if case .regular = entry.kind {
                hasContent = true
                contentSize = member.size
                regions = member.regions
            }
            return entry
        } catch {
            throw members.refused(error.reason)
        }
    }

    private func entry(for member: TarMember) throws(TarNames.Fault) -> LayerEntry {
        var path = try TarNames.path(member.name, limits: members.limits)
        let isDirectoryName = member.name.last == UInt8(ascii: "/")
        switch try TarNames.meaning(of: &path) {
        case .whiteout:
            try checkMark(member)
            return LayerEntry(path: path, kind: .whiteout)
        case .opaque:
            try checkMark(member)
            return LayerEntry(path: path, kind: .opaque)
        case .plain: break
        }
        let kind = try kind(of: member, path, isDirectoryName: isDirectoryName)
        if path.isRoot, kind != .directory { throw TarNames.Fault("the root must be a directory") }
        if kind == .whiteout { return LayerEntry(path: path, kind: .whiteout) }
        return LayerEntry(
            path: path,
            kind: kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            xattrs: member.xattrs
        )
    }

    /// A whiteout is an empty file, or with AUFS a hard link to one; its data is passed over.
    private func checkMark(_ member: TarMember) throws(TarNames.Fault) {
        switch member.type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "1"), UInt8(ascii: "7"): return
        default: throw TarNames.Fault("a whiteout that is not a regular file")
        }
    }

    private func kind(
        of member: TarMember,
        _ path: TreePath,
        isDirectoryName: Bool
    ) throws(TarNames.Fault) -> LayerEntry.Kind {
        switch member.type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"), UInt8(ascii: "S"):
            // Writers older than type 5 mark a directory by its slash.
            return isDirectoryName ? .directory : .regular(size: member.size)
        case UInt8(ascii: "1"): return .hardLink(target: try linkTarget(of: member, path))
        case UInt8(ascii: "2"): return .symlink(target: try symlinkTarget(of: member))
        case UInt8(ascii: "3"):
            let device = try device(of: member)
            return device == DeviceNumber(major: 0, minor: 0) ? .whiteout : .characterDevice(device)
        case UInt8(ascii: "4"): return .blockDevice(try device(of: member))
        case UInt8(ascii: "5"), UInt8(ascii: "D"): return .directory  // D: with a list of names as data
        case UInt8(ascii: "6"): return .fifo
        case UInt8(ascii: "M"): throw TarNames.Fault("a part of a file that began in another volume")
        default: throw TarNames.Fault("unknown type \(TreePath(bytes: [member.type]).printable)")
        }
    }

    private func linkTarget(of member: TarMember, _ path: TreePath) throws(TarNames.Fault) -> TreePath {
        let target: TreePath
        do throws(TarNames.Fault) {
            target = try TarNames.path(member.linkName, limits: members.limits)
        } catch {
            throw TarNames.Fault("a hard link to \(error.reason)")
        }
        if target.isRoot { throw TarNames.Fault("a hard link to the root") }
        if target == path { throw TarNames.Fault("a hard link to itself") }
        if TarNames.hasMark(target.bytes) { throw TarNames.Fault("a hard link to the whiteout \(target)") }
        return target
    }

    private func symlinkTarget(of member: TarMember) throws(TarNames.Fault) -> [UInt8] {
        let target = member.linkName
        if target.isEmpty { throw TarNames.Fault("a symlink without a target") }
        if target.count > members.limits.symlinkTarget {
            throw TarNames.Fault("a symlink's target of \(target.count) bytes")
        }
        return target
    }

    /// The kernel has 12 bits for the major and 20 for the minor number and cuts off what is more.
    private func device(of member: TarMember) throws(TarNames.Fault) -> DeviceNumber {
        guard member.device.major < 1 << 12, member.device.minor < 1 << 20 else {
            throw TarNames.Fault("a device number that is out of range")
        }
        return member.device
    }

    // MARK: Content

    private static let zeros = [UInt8](repeating: 0, count: 64 << 10)
    /// Large enough that a write costs its bytes, small enough that the next piece is made meanwhile.
    static let piece = 1 << 20

    private func takeContent() throws {
        guard hasContent else { throw members.refused("its content was read before, or it has none") }
        hasContent = false
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try takeContent()
        var end: Int64 = 0
        for region in regions ?? [SparseRegion(offset: 0, length: contentSize)] {
            try emitZeros(region.offset - end, body)
            try eachPiece(region.length, body)
            end = region.end
        }
        try emitZeros(contentSize - end, body)
    }

    private func emitZeros(_ count: Int64, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var left = count
        while left > 0 {
            let piece = Int(min(left, Int64(Self.zeros.count)))
            try Self.zeros.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[..<piece])) }
            left -= Int64(piece)
        }
    }

    /// Gives `count` bytes of data in pieces as they lie in the input's memory.
    @inline(__always)
    private func eachPiece(_ count: Int64, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var left = count
        while left > 0 {
            let piece = Int(min(left, Int64(Self.piece)))
            try body(try members.data(piece))
            members.passData(piece)
            left -= Int64(piece)
        }
    }

    func writeContent(to file: CInt) throws {
        try takeContent()
        guard let regions else {
            return try eachPiece(contentSize) { piece in
                try doing("write \(members.label), \(members.place)") {
                    try Files.writeAll(piece, to: file)
                }
            }
        }
        for region in regions {
            _ = try doing("write \(members.label), \(members.place)") {
                try system("lseek") { lseek(file, off_t(region.offset), SEEK_SET) }
            }
            try eachPiece(region.length) { piece in
                try doing("write \(members.label), \(members.place)") {
                    try Files.writeAll(piece, to: file)
                }
            }
        }
        _ = try doing("write \(members.label), \(members.place)") {
            try system("ftruncate") { ftruncate(file, off_t(contentSize)) }
        }
    }
}
