// SPDX-License-Identifier: Apache-2.0

import LinuxSys

/// Builds the blocks that stand before an entry's data: a ustar header, and a PAX header before it if it needs one.
struct TarHeaderWriter {
    private var block = [UInt8](repeating: 0, count: TarHeader.size)
    private var records: [(key: [UInt8], value: [UInt8])] = []

    /// What all headers begin with.
    private static let blank = TarHeaderWriter()

    init(type: UInt8) {
        self = Self.blank
        block[156] = type
    }

    private init() {
        put(Array("ustar\u{0}00".utf8), at: 257)
        for (place, length) in [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)] {
            putOctal(0, at: place, length: length)
        }
    }

    mutating func set(name: [UInt8]) {
        if name.count <= 100 { return put(name, at: 0) }
        if let slash = Self.split(name) {
            put(Array(name[..<slash]), at: 345)
            return put(Array(name[(slash + 1)...]), at: 0)
        }
        put(Array(name.prefix(100)), at: 0)
        record("path", name)
    }

    /// The last slash that leaves at most 155 bytes before it and 1 to 100 after it.
    private static func split(_ name: [UInt8]) -> Int? {
        guard name.count <= 256 else { return nil }
        let last = min(155, name.count - 2)
        for index in stride(from: last, through: max(name.count - 101, 1), by: -1)
        where name[index] == UInt8(ascii: "/") {
            return index
        }
        return nil
    }

    mutating func set(linkName: [UInt8]) {
        // Cut rather than left out: libarchive takes a symlink without a target here for a hard link.
        put(Array(linkName.prefix(100)), at: 157)
        if linkName.count > 100 { record("linkpath", linkName) }
    }

    mutating func set(mode: UInt32, uid: UInt32, gid: UInt32) {
        putOctal(Int64(mode & 0o7777), at: 100, length: 8)
        putNumber(Int64(uid), "uid", at: 108, length: 8)
        putNumber(Int64(gid), "gid", at: 116, length: 8)
    }

    mutating func set(size: Int64) { putNumber(size, "size", at: 124, length: 12) }

    mutating func set(mtime: Timestamp) {
        if mtime.seconds >= 0, mtime.nanoseconds == 0 {
            return putNumber(mtime.seconds, "mtime", at: 136, length: 12)
        }
        if mtime.seconds >= 0, mtime.seconds < 1 << 33 { putOctal(mtime.seconds, at: 136, length: 12) }
        record("mtime", Array(Self.decimal(mtime).utf8))
    }

    mutating func set(device: DeviceNumber) {
        // Linux has 12 and 20 bits for them, 7 digits hold 21.
        putOctal(Int64(device.major), at: 329, length: 8)
        putOctal(Int64(device.minor), at: 337, length: 8)
    }

    mutating func set(_ attribute: ExtendedAttribute) {
        records.append((Array("SCHILY.xattr.".utf8) + attribute.name, attribute.value))
    }

    /// `-1.5` for one and a half seconds before 1970, which is -2 seconds and 500,000,000 nanoseconds after.
    private static func decimal(_ time: Timestamp) -> String {
        if time.nanoseconds == 0 { return "\(time.seconds)" }
        let isNegative = time.seconds < 0
        let fraction = isNegative ? 1_000_000_000 - time.nanoseconds : time.nanoseconds
        let seconds = isNegative ? -(time.seconds + 1) : time.seconds
        var digits = "\(1_000_000_000 + fraction)".dropFirst()
        while digits.last == "0" { digits = digits.dropLast() }
        return "\(isNegative ? "-" : "")\(seconds).\(digits)"
    }

    // MARK: The blocks

    consuming func blocks() -> [UInt8] {
        putChecksum()
        if records.isEmpty { return block }
        let text = recordText()
        var header = TarHeaderWriter(type: UInt8(ascii: "x"))
        header.set(name: Array("PaxHeader".utf8))
        header.putOctal(0o644, at: 100, length: 8)
        header.putOctal(Int64(text.count), at: 124, length: 12)
        header.putChecksum()
        let padding = -text.count & 511
        var blocks = header.block
        blocks.reserveCapacity(2 * TarHeader.size + text.count + padding)
        blocks += text
        blocks.append(contentsOf: repeatElement(0, count: padding))
        blocks += block
        return blocks
    }

    private mutating func recordText() -> [UInt8] {
        let isText = records.allSatisfy { record in
            record.key.starts(with: "SCHILY.".utf8) || record.value.allSatisfy { $0 < 0x80 }
                || String(validating: record.value, as: UTF8.self) != nil
        }
        if !isText { record("hdrcharset", Array("BINARY".utf8)) }
        records.sort { $0.key.lexicographicallyPrecedes($1.key) }
        // The announcement holds for what follows it.
        if !isText, let index = records.firstIndex(where: { $0.key.elementsEqual("hdrcharset".utf8) }) {
            records.insert(records.remove(at: index), at: 0)
        }
        var text: [UInt8] = []
        for record in records { Self.append(record.key, record.value, to: &text) }
        return text
    }

    /// `<length> <key>=<value>\n`, whose length counts its own digits.
    private static func append(_ key: [UInt8], _ value: [UInt8], to text: inout [UInt8]) {
        let rest = key.count + value.count + 3
        var length = rest + "\(rest)".utf8.count
        length = rest + "\(length)".utf8.count
        text.append(contentsOf: "\(length) ".utf8)
        text += key
        text.append(UInt8(ascii: "="))
        text += value
        text.append(UInt8(ascii: "\n"))
    }

    private mutating func record(_ key: String, _ value: [UInt8]) { records.append((Array(key.utf8), value)) }

    private mutating func put(_ bytes: [UInt8], at place: Int) {
        block.withUnsafeMutableBytes { block in
            UnsafeMutableRawBufferPointer(rebasing: block[place...]).copyBytes(from: bytes)
        }
    }

    /// Zero-padded octal digits and a NUL.
    private mutating func putOctal(_ value: Int64, at place: Int, length: Int) {
        block.withUnsafeMutableBufferPointer { block in
            var rest = value
            for index in stride(from: place + length - 2, through: place, by: -1) {
                block[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest & 7)
                rest >>= 3
            }
            block[place + length - 1] = 0
        }
    }

    private mutating func putNumber(_ value: Int64, _ key: String, at place: Int, length: Int) {
        if value >= 0, value >> Int64(3 * (length - 1)) == 0 {
            return putOctal(value, at: place, length: length)
        }
        record(key, Array("\(value)".utf8))
    }

    private mutating func putChecksum() {
        for index in 148..<156 { block[index] = 0x20 }
        let sum = block.withUnsafeBufferPointer { block in
            block.reduce(into: UInt32(0)) { $0 &+= UInt32($1) }
        }
        putOctal(Int64(sum), at: 148, length: 7)
        block[155] = 0x20
    }
}
