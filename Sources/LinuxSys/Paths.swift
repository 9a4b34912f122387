// SPDX-License-Identifier: Apache-2.0

import Glibc
package import SystemPackage

/// Anything that can be handed to a system call as a path: bytes that end at a NUL, never decoded.
package protocol PathConvertible {
    /// Calls `body` with the NUL-terminated bytes, valid during the call only.
    func withCPath<R>(_ body: (UnsafePointer<CChar>) -> R) -> R
    /// For messages: bytes that are not printable UTF-8 appear as `\xNN`.
    var printable: String { get }
}

extension FilePath: PathConvertible {
    package func withCPath<R>(_ body: (UnsafePointer<CChar>) -> R) -> R { withPlatformString(body) }
    package var printable: String {
        withPlatformString { Path.printable(UnsafeRawPointer($0), count: length) }
    }
}

extension String: PathConvertible {
    package func withCPath<R>(_ body: (UnsafePointer<CChar>) -> R) -> R { withCString(body) }
    package var printable: String { self }
}

/// A path or name inside a layer or container: bytes, relative, without leading, trailing or doubled slashes.
///
/// The empty path is the root of the tree. Order is that of the bytes, which is the order of every listing.
package struct TreePath: Hashable, Comparable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    package let bytes: [UInt8]

    /// Takes bytes that the caller has already cleaned (see `LayerDiff`'s name check for what comes from outside).
    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    package init(stringLiteral value: StaticString) {
        bytes = value.withUTF8Buffer { Array($0) }
    }

    /// `text` without leading, trailing and doubled slashes and `.` components; `..` is kept as it is.
    package init(cleaning text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
        bytes = Array(parts.joined(separator: CollectionOfOne(UInt8(ascii: "/"))))
    }

    package static let root = TreePath(bytes: [])

    package var isRoot: Bool { bytes.isEmpty }

    /// The path without its last component; `nil` for the root.
    package var parent: TreePath? {
        if isRoot { return nil }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return .root }
        return TreePath(bytes: Array(bytes[..<slash]))
    }

    /// The last component; empty for the root.
    package var name: TreePath {
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return self }
        return TreePath(bytes: Array(bytes[(slash + 1)...]))
    }

    package var components: [TreePath] {
        bytes.split(separator: UInt8(ascii: "/")).map { TreePath(bytes: Array($0)) }
    }

    package func appending(_ name: TreePath) -> TreePath {
        if isRoot { return name }
        if name.isRoot { return self }
        var joined = bytes
        joined.reserveCapacity(bytes.count + 1 + name.bytes.count)
        joined.append(UInt8(ascii: "/"))
        joined.append(contentsOf: name.bytes)
        return TreePath(bytes: joined)
    }

    /// Whether `self` is `other` or lies below it.
    package func isWithin(_ other: TreePath) -> Bool {
        if other.isRoot { return true }
        guard bytes.starts(with: other.bytes) else { return false }
        return bytes.count == other.bytes.count || bytes[other.bytes.count] == UInt8(ascii: "/")
    }

    package static func == (left: TreePath, right: TreePath) -> Bool { left.bytes == right.bytes }

    /// An array would hash one byte after the other.
    package func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }

    package static func < (left: TreePath, right: TreePath) -> Bool {
        left.bytes.withUnsafeBytes { l in
            right.bytes.withUnsafeBytes { r in
                guard let first = l.baseAddress, let second = r.baseAddress else { return l.count < r.count }
                let order = memcmp(first, second, min(l.count, r.count))
                return order == 0 ? l.count < r.count : order < 0
            }
        }
    }

    /// Printable, and absolute as users write it.
    package var description: String { "/" + printable }
}

extension TreePath: PathConvertible {
    package func withCPath<R>(_ body: (UnsafePointer<CChar>) -> R) -> R { withTerminated(body) }

    /// The same for one system call, without the 350 instructions that a result of any type costs: for calls that are many.
    package func passed(to call: (UnsafePointer<CChar>) -> CInt) -> CInt { withTerminated(call) }

    @inline(__always)
    private func withTerminated<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: bytes.count + 1) { buffer in
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(buffer).copyMemory(from: $0) }
            buffer[bytes.count] = 0
            guard let base = buffer.baseAddress else {
                preconditionFailure("a temporary buffer of at least one byte")
            }
            return body(UnsafePointer(base))
        }
    }

    /// For messages: the start of a path that is long beyond use.
    package var shown: String {
        bytes.count <= 512
            ? description : "\(TreePath(bytes: Array(bytes.prefix(256))))… (\(bytes.count) bytes)"
    }

    package var printable: String {
        bytes.withUnsafeBytes { Path.printable($0.baseAddress, count: $0.count) }
    }
}

package enum Path {
    /// UTF-8 as it is; control characters and bytes that are not UTF-8 as `\xNN`.
    package static func printable(_ base: UnsafeRawPointer?, count: Int) -> String {
        guard let base, count > 0 else { return "" }
        let bytes = UnsafeRawBufferPointer(start: base, count: count)
        if let text = String(validating: bytes, as: UTF8.self),
            !text.unicodeScalars.contains(where: isControl)
        {
            return text
        }
        let hex = Array("0123456789abcdef".utf8)
        var escaped: [UInt8] = []
        for byte in bytes {
            if (0x20..<0x7F).contains(byte) {
                escaped.append(byte)
            } else {
                escaped += [UInt8(ascii: "\\"), UInt8(ascii: "x"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: escaped, as: UTF8.self)
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value)
    }
}

extension Files {
    /// The path from the root, without `.` and `..`, which are taken as they are written: no link is followed.
    ///
    /// ENOENT if the working directory, which a relative path needs, is gone.
    package static func absolute(_ path: FilePath) throws(SystemError) -> FilePath {
        if path.isAbsolute { return path.lexicallyNormalized() }
        guard let here = getcwd(nil, 0) else {
            throw SystemError("getcwd", nil, Errno(rawValue: errno))
        }
        defer { free(here) }
        return FilePath(platformString: here).pushing(path).lexicallyNormalized()
    }
}
