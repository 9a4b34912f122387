// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

/// One member of a tar as the tar has it: names not cleaned, its extended headers applied.
struct TarMember {
    var type: UInt8
    var name: [UInt8]
    var linkName: [UInt8]
    var mode: UInt32
    var uid: UInt32
    var gid: UInt32
    var mtime: Timestamp
    var device: DeviceNumber
    /// Of the file that it makes, holes included.
    var size: Int64
    /// The parts that are not holes, in order; `nil` for an ordinary file.
    var regions: [SparseRegion]?
    var xattrs: [ExtendedAttribute]
}

struct SparseRegion: Hashable {
    var offset: Int64
    var length: Int64

    var end: Int64 { offset + length }  // checked when the map was read
}

/// Reads the members of a tar one after the other.
///
/// Whatever is malformed is refused with a line that names the archive and the member.
final class TarMembers {
    let label: String
    let limits: LayerLimits
    let input: any TarInput
    /// Bytes since the start of the tar.
    private(set) var offset: Int64 = 0
    /// Bytes of the member's data that were not read yet, and what pads them to a whole block.
    private(set) var dataLeft: Int64 = 0
    private var padding: Int64 = 0
    /// The member that `next` gave last or is reading, for messages.
    private(set) var current: [UInt8] = []
    private var count = 0
    private var global = PaxRecords()

    init(_ input: any TarInput, label: String, limits: LayerLimits) {
        self.input = input
        self.label = label
        self.limits = limits
    }

    func refused(_ reason: String) -> StorageError {
        StorageError(.invalid, "read \(label), \(place): \(reason)")
    }

    /// The current entry, for messages: by its name, or by its number where it has none.
    var place: String {
        if current.isEmpty { return "entry \(count)" }
        let name = TreePath(bytes: Array(current.prefix(200))).printable
        return "entry \(name)\(current.count > 200 ? "…" : "")"
    }

    // MARK: Members

    /// The next member; data of the one before is skipped.
    ///
    /// `nil` at the end mark, or where the tar ends without one.
    func next() throws -> TarMember? {
        try skipData()
        var pending = Pending(records: global)
        while let header = try nextHeader() {
            switch header.type {
            case UInt8(ascii: "x"), UInt8(ascii: "X"):
                try parse(header, into: &pending.records, isGlobal: false)
            case UInt8(ascii: "g"):
                try parse(header, into: &global, isGlobal: true)
                pending.records = global
            case UInt8(ascii: "L"): pending.name = try longName(header)
            case UInt8(ascii: "K"): pending.linkName = try longName(header)
            case UInt8(ascii: "V"):  // a volume's label
                try beginData(header)
                try skipData()
            default: return try member(header, pending)
            }
            pending.isEmpty = false
        }
        if !pending.isEmpty { throw refused("the tar ends after an extended header") }
        return nil
    }

    /// What extended headers say about the member that follows them.
    private struct Pending {
        var records: PaxRecords
        var name: [UInt8]?
        var linkName: [UInt8]?
        var isEmpty = true
    }

    /// The next header, its checksum checked; valid until the input moves.
    private func nextHeader() throws -> TarHeader? {
        let view = try input.peek(TarHeader.size)
        if view.isEmpty { return nil }
        count += 1
        current = []
        guard view.count >= TarHeader.size else { throw refused("truncated") }
        let header = TarHeader(view)
        if header.isZero {
            try checkEnd()
            return nil
        }
        if count > limits.entries { throw refused("more than \(limits.entries) entries") }
        guard header.hasValidChecksum else { throw refused("wrong header checksum at byte \(offset)") }
        return header
    }

    /// One zero block at the very end will do; one between members is damage.
    private func checkEnd() throws {
        let view = try input.peek(2 * TarHeader.size)
        let second = view[TarHeader.size...].prefix(TarHeader.size)
        if second.contains(where: { $0 != 0 }) {
            throw refused("data after a single block of zeros at byte \(offset)")
        }
    }

    private func member(_ header: TarHeader, _ pending: Pending) throws -> TarMember {
        let records = pending.records
        current = records.sparse.name ?? records.path ?? pending.name ?? Self.name(of: header)
        let device = DeviceNumber(major: Self.part(header.deviceMajor), minor: Self.part(header.deviceMinor))
        var member = TarMember(
            type: header.type,
            name: current,
            linkName: records.linkPath ?? pending.linkName ?? Array(header.linkName),
            mode: UInt32(truncatingIfNeeded: try field(header.mode, "mode")) & 0o7777,
            uid: try id(records.uid ?? header.uid, "uid"),
            gid: try id(records.gid ?? header.gid, "gid"),
            mtime: try records.mtime ?? Timestamp(seconds: field(header.mtime, "mtime")),
            device: device,
            size: 0,
            regions: nil,
            xattrs: records.xattrs
        )
        if member.xattrs.count > 1 { member.xattrs.sort() }
        // The header lies in the input's memory: nothing of it may be used once it was passed.
        let oldMap = member.type == UInt8(ascii: "S") ? OldSparseMap(header) : nil
        try beginData(header, size: records.size)
        member.size = dataLeft
        if let oldMap {
            try readOldSparse(&member, oldMap)
        } else if records.sparse.isPresent {
            try readPaxSparse(&member, records.sparse)
        }
        if member.size > limits.fileSize {
            throw refused("a file of \(member.size) bytes; \(limits.fileSize) are allowed")
        }
        return member
    }

    private static func name(of header: TarHeader) -> [UInt8] {
        let prefix = header.prefix
        if prefix.isEmpty { return Array(header.name) }
        return Array(prefix) + [UInt8(ascii: "/")] + Array(header.name)
    }

    // MARK: Fields

    private func field(_ value: Int64?, _ name: String) throws -> Int64 {
        guard let value else { throw refused("malformed \(name)") }
        return value
    }

    /// -1 would mean "leave as it is" to chown(2).
    private func id(_ value: Int64?, _ name: String) throws -> UInt32 {
        let value = try field(value, name)
        guard let id = UInt32(exactly: value), id != .max else {
            throw refused("\(name) \(value) is out of range")
        }
        return id
    }

    /// Device fields matter for devices alone, and some writers leave rubbish in them elsewhere: what is malformed
    /// becomes a number that no device can have.
    private static func part(_ value: Int64?) -> UInt32 { value.flatMap { UInt32(exactly: $0) } ?? .max }

    // MARK: Extended headers

    private func parse(_ header: TarHeader, into records: inout PaxRecords, isGlobal: Bool) throws {
        let bytes = try extendedHeader(header)
        do throws(PaxRecords.Fault) {
            try records.parse(bytes, isGlobal: isGlobal, limits: limits)
        } catch {
            current = records.path ?? []
            throw refused(error.reason)
        }
        passData(bytes.count)
        try skipData()
    }

    /// A name that is longer than its field; it ends with NULs.
    private func longName(_ header: TarHeader) throws -> [UInt8] {
        let bytes = try extendedHeader(header)
        let name = Array(bytes[..<(bytes.firstIndex(of: 0) ?? bytes.endIndex)])
        if bytes.dropFirst(name.count).contains(where: { $0 != 0 }) { throw refused("a long name with NUL") }
        passData(bytes.count)
        try skipData()
        return name
    }

    private func extendedHeader(_ header: TarHeader) throws -> UnsafeRawBufferPointer {
        try beginData(header)
        if dataLeft > Int64(limits.extendedHeader) {
            throw refused("an extended header of \(dataLeft) bytes")
        }
        return try data(Int(dataLeft))
    }

    // MARK: Data

    private func beginData(_ header: TarHeader, size: Int64? = nil) throws {
        let type = header.type
        var size = try size ?? field(header.storedSize, "size")
        if size < 0 { throw refused("negative size") }
        // Links, devices, directories and fifos have none, whatever their size field says.
        if (UInt8(ascii: "1")...UInt8(ascii: "6")).contains(type) { size = 0 }
        if size > limits.tarSize { throw refused("data of \(size) bytes; \(limits.tarSize) are allowed") }
        pass(TarHeader.size)
        dataLeft = size
        padding = -size & 511
    }

    /// Exactly `count` bytes of data that were not passed yet, valid until `pass`.
    func data(_ count: Int) throws -> UnsafeRawBufferPointer {
        let view = try input.peek(count)
        guard view.count >= count else { throw refused("truncated") }
        return UnsafeRawBufferPointer(rebasing: view[..<count])
    }

    private func pass(_ count: Int) {
        input.advance(count)
        offset += Int64(count)
    }

    func passData(_ count: Int) {
        pass(count)
        dataLeft -= Int64(count)
    }

    /// A block of an old sparse map stands before the data without being part of it.
    func passMapBlock() { pass(TarHeader.size) }

    private func skipData() throws {
        let count = dataLeft + padding
        if count == 0 { return }
        if count <= 511 {
            _ = try data(Int(count))
            pass(Int(count))
        } else {
            if try input.skip(count) != count { throw refused("truncated") }
            offset += count
        }
        dataLeft = 0
        padding = 0
    }
}
