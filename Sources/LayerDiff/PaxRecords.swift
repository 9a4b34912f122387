// SPDX-License-Identifier: Apache-2.0

import LinuxSys

/// What a PAX extended header says, of what a layer needs.
///
/// A global header is the start of each local one.
struct PaxRecords {
    var path: [UInt8]?
    var linkPath: [UInt8]?
    var size: Int64?
    var uid: Int64?
    var gid: Int64?
    var mtime: Timestamp?
    var xattrs: [ExtendedAttribute] = []
    var sparse = Sparse()

    /// The records of GNU's three sparse forms.
    struct Sparse {
        var major: Int64?
        var minor: Int64?
        var name: [UInt8]?
        /// The file's size, holes included: `GNU.sparse.size` (0.x) or `GNU.sparse.realsize` (1.0).
        var size: Int64?
        var count: Int64?
        /// Offsets and lengths in turn.
        var map: [Int64] = []
        var isPresent = false
    }

    /// Why an extended header is refused.
    struct Fault: Error {
        let reason: String

        init(_ reason: String) { self.reason = reason }
    }

    /// Reads the records `<length> <key>=<value>\n`; later ones replace earlier ones, an empty value deletes.
    mutating func parse(_ bytes: UnsafeRawBufferPointer, isGlobal: Bool, limits: LayerLimits) throws(Fault) {
        var rest = bytes[...]
        while let first = rest.first, first != 0 {  // NULs may pad the header
            let record = try Self.record(&rest)
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")), equals > record.startIndex else {
                throw Fault("extended header record without a key")
            }
            let key = UnsafeRawBufferPointer(rebasing: record[..<equals])
            if key.contains(0) { throw Fault("extended header key with NUL") }
            let value = UnsafeRawBufferPointer(rebasing: record[(equals + 1)...])
            try set(key, value, isGlobal: isGlobal, limits: limits)
        }
        if rest.contains(where: { $0 != 0 }) { throw Fault("extended header with data after its end") }
    }

    private static func record(
        _ rest: inout Slice<UnsafeRawBufferPointer>
    ) throws(Fault) -> Slice<UnsafeRawBufferPointer> {
        let start = rest.startIndex
        guard let space = rest.prefix(20).firstIndex(of: 0x20),
            let length = decimal(UnsafeRawBufferPointer(rebasing: rest[..<space])),
            length > Int64(space - start) + 1, length <= Int64(rest.count),
            rest[start + Int(length) - 1] == UInt8(ascii: "\n")
        else { throw Fault("malformed extended header record") }
        let end = start + Int(length)
        defer { rest = rest[end...] }
        return rest[(space + 1)..<(end - 1)]
    }

    private mutating func set(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        isGlobal: Bool,
        limits: LayerLimits
    ) throws(Fault) {
        if key.starts(with: "SCHILY.xattr.".utf8) {
            return try addAttribute(Array(key.dropFirst(13)), Array(value), limits)
        }
        if key.starts(with: "GNU.sparse.".utf8) {
            if isGlobal { throw Fault("sparse map in a global header") }
            return try setSparse(String(decoding: key.dropFirst(11), as: UTF8.self), value, limits)
        }
        // Only these are made into strings: most headers have nothing else.
        guard key.count <= 32 else { return }
        let name = String(decoding: key, as: UTF8.self)
        if isGlobal, ["path", "linkpath", "size"].contains(name) {
            throw Fault("\(name) in a global header")
        }
        switch name {
        case "path": path = try Self.text(value, name)
        case "linkpath": linkPath = try Self.text(value, name)
        case "size": size = try Self.number(value, name)
        case "uid": uid = try Self.number(value, name)
        case "gid": gid = try Self.number(value, name)
        case "mtime": mtime = try Self.time(value)
        default: break  // atime, ctime, uname, comment, …
        }
    }

    private mutating func setSparse(
        _ key: String,
        _ value: UnsafeRawBufferPointer,
        _ limits: LayerLimits
    ) throws(Fault) {
        sparse.isPresent = true
        switch key {
        case "major": sparse.major = try Self.number(value, key)
        case "minor": sparse.minor = try Self.number(value, key)
        case "name": sparse.name = try Self.text(value, key)
        case "size", "realsize": sparse.size = try Self.number(value, key)
        case "numblocks": sparse.count = try Self.number(value, key)
        case "offset":
            if sparse.map.count % 2 != 0 { throw Fault("sparse map with an offset without length") }
            try appendToMap(value, limits)
        case "numbytes":
            if sparse.map.count % 2 != 1 { throw Fault("sparse map with a length without offset") }
            try appendToMap(value, limits)
        case "map":
            sparse.map = []
            for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: value.isEmpty) {
                try appendToMap(UnsafeRawBufferPointer(rebasing: part), limits)
            }
        default: throw Fault("unknown sparse record \(key)")
        }
    }

    private mutating func appendToMap(_ value: UnsafeRawBufferPointer, _ limits: LayerLimits) throws(Fault) {
        guard let number = Self.decimal(value) else { throw Fault("malformed sparse map") }
        if sparse.map.count >= 2 * limits.sparseRegions {
            throw Fault("more than \(limits.sparseRegions) sparse regions")
        }
        sparse.map.append(number)
    }

    private mutating func addAttribute(_ name: [UInt8], _ value: [UInt8], _ limits: LayerLimits) throws(Fault)
    {
        if name.isEmpty { throw Fault("extended attribute without a name") }
        if name.count > limits.xattrName { throw Fault("extended attribute name of \(name.count) bytes") }
        if value.count > limits.xattrValue { throw Fault("extended attribute of \(value.count) bytes") }
        // The label of the machine that wrote the tar means nothing here, and the kernel may refuse it.
        if name.elementsEqual("security.selinux".utf8) { return }
        // A linear search is quadratic: beyond the limit it would be the attack itself.
        if let index = xattrs.firstIndex(where: { $0.name == name }) {
            xattrs[index].value = value
        } else {
            xattrs.append(ExtendedAttribute(name: name, value: value))
        }
        if xattrs.count > limits.xattrs { throw Fault("more than \(limits.xattrs) extended attributes") }
        if xattrs.reduce(0, { $0 + $1.name.count + $1.value.count }) > limits.xattrBytes {
            throw Fault("more than \(limits.xattrBytes) bytes of extended attributes")
        }
    }

    // MARK: Values

    /// `nil` for the empty value, which deletes.
    private static func text(_ value: UnsafeRawBufferPointer, _ key: String) throws(Fault) -> [UInt8]? {
        if value.contains(0) { throw Fault("\(key) with NUL") }
        return value.isEmpty ? nil : Array(value)
    }

    private static func number(_ value: UnsafeRawBufferPointer, _ key: String) throws(Fault) -> Int64? {
        if value.isEmpty { return nil }
        if value.first == UInt8(ascii: "-") { throw Fault("negative \(key)") }
        guard let number = decimal(value) else { throw Fault("malformed \(key)") }
        return number
    }

    /// Only digits, and no overflow.
    static func decimal(_ value: UnsafeRawBufferPointer) -> Int64? {
        if value.isEmpty { return nil }
        var result: Int64 = 0
        for byte in value {
            let digit = byte &- UInt8(ascii: "0")
            if digit > 9 { return nil }
            let (product, overflow) = result.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(digit))
            if overflow || carry { return nil }
            result = sum
        }
        return result
    }

    /// `[-]seconds[.fraction]`; digits beyond nanoseconds are cut off.
    private static func time(_ value: UnsafeRawBufferPointer) throws(Fault) -> Timestamp? {
        if value.isEmpty { return nil }
        var digits = value[...]
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        let dot = digits.firstIndex(of: UInt8(ascii: ".")) ?? digits.endIndex
        guard let seconds = decimal(UnsafeRawBufferPointer(rebasing: digits[..<dot])) else {
            throw Fault("malformed mtime")
        }
        var nanoseconds: UInt32 = 0
        if dot != digits.endIndex {
            let fraction = digits[(dot + 1)...]
            var unit: UInt32 = 100_000_000
            for byte in fraction {
                let digit = byte &- UInt8(ascii: "0")
                if digit > 9 { throw Fault("malformed mtime") }
                nanoseconds += unit * UInt32(digit)
                unit /= 10
            }
        }
        if !isNegative { return Timestamp(seconds: seconds, nanoseconds: nanoseconds) }
        if nanoseconds == 0 { return Timestamp(seconds: -seconds) }
        return Timestamp(seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds)
    }
}
