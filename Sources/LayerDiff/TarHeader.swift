// SPDX-License-Identifier: Apache-2.0

/// One 512-byte block of a tar, read in place: V7, ustar, star and GNU.
///
/// All variants share the first 257 bytes; what follows depends on the magic.
struct TarHeader {
    static let size = 512

    private let block: UnsafeRawBufferPointer

    /// - Parameter bytes: at least `size` bytes, valid as long as the header is used.
    init(_ bytes: UnsafeRawBufferPointer) {
        block = UnsafeRawBufferPointer(rebasing: bytes[..<Self.size])
    }

    var isZero: Bool { block[148] == 0 && block.allSatisfy { $0 == 0 } }

    /// Whether the stored sum is that of the bytes; very old writers summed signed bytes.
    var hasValidChecksum: Bool {
        guard let stored = number(148, 8), stored > 0 else { return false }
        var sum = byteSum
        for byte in block[148..<156] { sum += 0x20 - Int64(byte) }
        if sum == stored { return true }
        let high = block.count { $0 >= 0x80 } - block[148..<156].count { $0 >= 0x80 }
        return sum - 256 * Int64(high) == stored
    }

    /// Of all bytes, 16 at a time: a layer of small files has one block for few of them.
    private var byteSum: Int64 {
        // 32 times two bytes in each lane, and four lanes in each half: 65,280 at most, no overflow.
        var lanes = SIMD8<UInt16>(repeating: 0)
        var place = 0
        while place < Self.size {
            let pairs = block.loadUnaligned(fromByteOffset: place, as: SIMD8<UInt16>.self)
            lanes &+= (pairs & 0xFF) &+ (pairs &>> 8)
            place += 16
        }
        return Int64(UInt32(lanes.evenHalf.wrappedSum()) + UInt32(lanes.oddHalf.wrappedSum()))
    }

    var type: UInt8 { block[156] }
    var name: UnsafeRawBufferPointer { text(0, 100) }
    var linkName: UnsafeRawBufferPointer { text(157, 100) }
    var mode: Int64? { number(100, 8) }
    var uid: Int64? { number(108, 8) }
    var gid: Int64? { number(116, 8) }
    var storedSize: Int64? { number(124, 12) }
    var mtime: Int64? { number(136, 12) }

    /// The device numbers are there in all but V7.
    var deviceMajor: Int64? { isV7 ? 0 : number(329, 8) }
    var deviceMinor: Int64? { isV7 ? 0 : number(337, 8) }

    /// What stands before `name` and a slash; only in ustar, where star has two times behind it.
    var prefix: UnsafeRawBufferPointer {
        guard isUstar else { return UnsafeRawBufferPointer(rebasing: block[0..<0]) }
        let isStar = load(508, as: UInt32.self) == 0x7461_7200  // "tar" and NUL
        return text(345, isStar ? 131 : 155)
    }

    private var isUstar: Bool { !isV7 && block[262] == 0 }
    private var isV7: Bool { load(257, as: UInt32.self) != 0x7573_7461 || block[261] != 0x72 }  // "usta", "r"

    private func load<T: FixedWidthInteger & BitwiseCopyable>(_ place: Int, as type: T.Type) -> T {
        T(bigEndian: block.loadUnaligned(fromByteOffset: place, as: type))
    }

    // MARK: The old GNU sparse form

    /// Up to 4 regions in the header, 21 in a block that continues the map; it ends early at an empty field.
    func sparseRegions(isContinuation: Bool) -> [(offset: Int64?, length: Int64?)] {
        var regions: [(offset: Int64?, length: Int64?)] = []
        let start = isContinuation ? 0 : 386
        for index in 0..<(isContinuation ? 21 : 4) {
            let place = start + index * 24
            if block[place] == 0 { break }
            regions.append((number(place, 12), number(place + 12, 12)))
        }
        return regions
    }

    func sparseContinues(isContinuation: Bool) -> Bool { block[isContinuation ? 504 : 482] != 0 }

    /// The file's size, holes included.
    var sparseSize: Int64? { number(483, 12) }

    // MARK: Fields

    /// The bytes up to the first NUL.
    private func text(_ start: Int, _ length: Int) -> UnsafeRawBufferPointer {
        let field = block[start..<(start + length)]
        return UnsafeRawBufferPointer(rebasing: field[..<(field.firstIndex(of: 0) ?? field.endIndex)])
    }

    /// Octal digits between spaces and NULs, or big-endian base 256 if the top bit is set; `nil` if it is neither or does not fit.
    ///
    /// An empty field is 0.
    private func number(_ start: Int, _ length: Int) -> Int64? {
        if let usual = usualNumber(start, length) { return usual }
        let field = UnsafeRawBufferPointer(rebasing: block[start..<(start + length)])
        return field[0] & 0x80 != 0 ? Self.base256(field) : Self.octal(field)
    }

    /// As nearly all writers have it: a digit everywhere but at the end of a field of 8 or 12 bytes, where a NUL or space is.
    private func usualNumber(_ start: Int, _ length: Int) -> Int64? {
        guard length == 8 || length == 12, Self.isBlank(block[start + length - 1]) else { return nil }
        let first = load(start, as: UInt64.self)
        let zeros: UInt64 = 0x3030_3030_3030_3030
        if length == 8 { return Self.eightDigits(first >> 8 | zeros << 56) }
        let rest = UInt64(load(start + 8, as: UInt32.self) >> 8)
        guard let high = Self.eightDigits(first), let low = Self.eightDigits(rest | zeros << 24) else {
            return nil
        }
        return high << 9 | low
    }

    /// The value of octal digits, the first in the highest byte; `nil` if one is none.
    private static func eightDigits(_ text: UInt64) -> Int64? {
        let digits = text ^ 0x3030_3030_3030_3030
        if digits & 0xF8F8_F8F8_F8F8_F8F8 != 0 { return nil }
        let pairs = (digits & 0x0700_0700_0700_0700) >> 5 | digits & 0x0007_0007_0007_0007
        let fours = (pairs & 0x003F_0000_003F_0000) >> 10 | pairs & 0x0000_003F_0000_003F
        return Int64(fours >> 20 | fours & 0xFFF)
    }

    private static func octal(_ field: UnsafeRawBufferPointer) -> Int64? {
        var index = 0
        var end = field.count
        while index < end, isBlank(field[index]) { index += 1 }
        while end > index, isBlank(field[end - 1]) { end -= 1 }
        var value: Int64 = 0  // 12 digits are 36 bits: no overflow
        while index < end {
            let digit = field[index] &- UInt8(ascii: "0")
            if digit > 7 { return nil }
            value = value << 3 | Int64(digit)
            index += 1
        }
        return value
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0 || byte == 0x20 }

    /// Two's complement over all bits but the top one.
    private static func base256(_ field: UnsafeRawBufferPointer) -> Int64? {
        let inversion: UInt8 = field[0] & 0x40 != 0 ? 0xFF : 0
        var value: UInt64 = 0
        for index in field.indices {
            if value >> 56 != 0 { return nil }
            let byte = field[index] ^ inversion
            value = value << 8 | UInt64(index == 0 ? byte & 0x7F : byte)
        }
        guard let magnitude = Int64(exactly: value) else { return nil }
        return inversion == 0 ? magnitude : ~magnitude
    }
}
