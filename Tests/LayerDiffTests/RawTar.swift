// SPDX-License-Identifier: Apache-2.0

/// One tar header with every field as text, so that each can be wrong; the checksum is right unless `sum` is given.
struct RawHeader {
    var name = "file"
    var mode = "0000644"
    var uid = "0000000"
    var gid = "0000000"
    var size: [UInt8] = Array("00000000000".utf8)
    var mtime: [UInt8] = Array("00000000000".utf8)
    var type: UInt8 = UInt8(ascii: "0")
    var link = ""
    var magic = "ustar\u{0}00"
    var major = "0000000"
    var minor = "0000000"
    var prefix = ""
    var sum: String?
    /// What to put into the block at last, before the sum.
    var patches: [(place: Int, bytes: [UInt8])] = []

    init(_ name: String = "file", type: Character = "0", link: String = "") {
        self.name = name
        self.type = type.asciiValue ?? 0
        self.link = link
    }

    var block: [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, _ place: Int) {
            block.replaceSubrange(place..<(place + bytes.count), with: bytes)
        }
        put(name.utf8, 0)
        put(mode.utf8, 100)
        put(uid.utf8, 108)
        put(gid.utf8, 116)
        put(size, 124)
        put(mtime, 136)
        put([type], 156)
        put(link.utf8, 157)
        put(magic.utf8, 257)
        put(major.utf8, 329)
        put(minor.utf8, 337)
        put(prefix.utf8, 345)
        for patch in patches { put(patch.bytes, patch.place) }
        put([UInt8](repeating: 0x20, count: 8), 148)
        let right = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        put((sum ?? right).utf8, 148)
        block[154] = 0
        return block
    }
}

func with<T>(_ value: T, _ change: (inout T) -> Void) -> T {
    var copy = value
    change(&copy)
    return copy
}

func octal(_ value: Int, width: Int = 11) -> [UInt8] {
    let digits = Array(String(value, radix: 8).utf8)
    return [UInt8](repeating: UInt8(ascii: "0"), count: width - digits.count) + digits
}

func padded(_ bytes: [UInt8]) -> [UInt8] { bytes + [UInt8](repeating: 0, count: -bytes.count & 511) }

/// A header with its data, the size set.
func member(_ header: RawHeader, _ data: [UInt8] = []) -> [UInt8] {
    with(header) { $0.size = octal(data.count) }.block + padded(data)
}

func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
    let rest = key.utf8.count + value.count + 3
    var length = rest + 1
    while "\(length)".utf8.count + rest != length { length += 1 }
    return Array("\(length) \(key)=".utf8) + value + [0x0A]
}

func record(_ key: String, _ value: String) -> [UInt8] { record(key, Array(value.utf8)) }

/// An extended header of type `x`, or `g` for all members that follow.
func pax(_ records: [UInt8]..., type: Character = "x") -> [UInt8] {
    member(RawHeader("PaxHeader", type: type), Array(records.joined()))
}

/// GNU's long name (`L`) or long link target (`K`).
func gnuLong(_ text: [UInt8], type: Character = "L") -> [UInt8] {
    member(RawHeader("././@LongLink", type: type), text + [0])
}

let endMark = [UInt8](repeating: 0, count: 1024)
