// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// One extended attribute: its full name (`user.x`, `security.capability`) and value, both bytes.
package struct ExtendedAttribute: Hashable, Comparable, Sendable {
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    package static func < (left: ExtendedAttribute, right: ExtendedAttribute) -> Bool {
        left.name == right.name
            ? left.value.lexicographicallyPrecedes(right.value)
            : left.name.lexicographicallyPrecedes(right.name)
    }
}

/// Reads and writes extended attributes of a name below a directory descriptor, never following a final symlink.
///
/// There is no xattr call relative to a descriptor before Linux 6.13, and the calls by descriptor do not take one of
/// a symlink or device; so the path is `/proc/self/fd/<directory>/<name>`, in which only `name` comes from outside.
package enum ExtendedAttributes {
    /// All attributes, sorted by name; empty where the file system has none.
    ///
    /// - Parameter isWanted: says of a name whether its value is read; others are left out.
    package static func read(
        _ name: some PathConvertible,
        below directory: CInt,
        where isWanted: (ArraySlice<UInt8>) -> Bool = { _ in true }
    ) throws(SystemError) -> [ExtendedAttribute] {
        let path = procPath(name, below: directory)
        return try read(
            name.printable,
            where: isWanted,
            list: { clinux_llistxattr(path, $0, $1) },
            get: { clinux_lgetxattr(path, $0, $1, $2) }
        )
    }

    /// The same of an open file; of a directory also by an O_PATH descriptor, as the root of a detached mount is one.
    package static func read(
        of fd: CInt,
        where isWanted: (ArraySlice<UInt8>) -> Bool = { _ in true }
    ) throws(SystemError) -> [ExtendedAttribute] {
        do throws(SystemError) {
            return try read(
                nil,
                where: isWanted,
                list: { clinux_flistxattr(fd, $0, $1) },
                get: { clinux_fgetxattr(fd, $0, $1, $2) }
            )
        } catch {
            guard error.errno == .badFileDescriptor else { throw error }
            return try read(".", below: fd, where: isWanted)
        }
    }

    /// One attribute's value, or `nil` if it is not there or the file system has none.
    package static func value(
        _ attribute: String,
        of name: some PathConvertible,
        below directory: CInt
    ) throws(SystemError) -> [UInt8]? {
        let path = procPath(name, below: directory)
        return try value(name.printable, attribute: Array(attribute.utf8)) {
            clinux_lgetxattr(path, $0, $1, $2)
        }
    }

    package static func value(_ attribute: String, of fd: CInt) throws(SystemError) -> [UInt8]? {
        try value(nil, attribute: Array(attribute.utf8)) { clinux_fgetxattr(fd, $0, $1, $2) }
    }

    package static func set(
        _ attribute: ExtendedAttribute,
        on name: some PathConvertible,
        below directory: CInt
    ) throws(SystemError) {
        let path = procPath(name, below: directory)
        let key = attribute.name + [0]
        try system("setxattr", "\(name.printable) \(printable(attribute.name))") {
            key.withUnsafeBufferPointer { k in
                k.withMemoryRebound(to: CChar.self) {
                    clinux_lsetxattr(path, $0.baseAddress, attribute.value, attribute.value.count, 0)
                }
            }
        }
    }

    /// The same on an open file; on a directory also by an O_PATH descriptor.
    package static func set(_ attribute: ExtendedAttribute, on fd: CInt) throws(SystemError) {
        let key = attribute.name + [0]
        let done = try systemAnswer("setxattr", printable(attribute.name), expecting: .badFileDescriptor) {
            key.withUnsafeBufferPointer { k in
                k.withMemoryRebound(to: CChar.self) {
                    clinux_fsetxattr(fd, $0.baseAddress, attribute.value, attribute.value.count, 0)
                }
            }
        }
        if done == nil { try set(attribute, on: ".", below: fd) }
    }

    /// Removes one attribute; absent is success.
    package static func remove(
        _ attribute: [UInt8],
        from name: some PathConvertible,
        below directory: CInt
    ) throws(SystemError) {
        let path = procPath(name, below: directory)
        let key = attribute + [0]
        _ = try systemAnswer("removexattr", "\(name.printable) \(printable(attribute))", expecting: .noData) {
            key.withUnsafeBufferPointer { k in
                k.withMemoryRebound(to: CChar.self) { clinux_lremovexattr(path, $0.baseAddress) }
            }
        }
    }

    private static func procPath(_ name: some PathConvertible, below directory: CInt) -> [CChar] {
        let prefix = Array("/proc/self/fd/\(directory)/".utf8).map { CChar(bitPattern: $0) }
        return name.withCPath { prefix + UnsafeBufferPointer(start: $0, count: strlen($0)) + [0] }
    }

    private static func printable(_ bytes: [UInt8]) -> String { TreePath(bytes: bytes).printable }

    private static func read(
        _ what: @autoclosure () -> String?,
        where isWanted: (ArraySlice<UInt8>) -> Bool,
        list: (UnsafeMutablePointer<CChar>?, Int) -> Int,
        get: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
    ) throws(SystemError) -> [ExtendedAttribute] {
        let names = try grow("listxattr", what(), from: 1024, expecting: .notSupported) {
            list($0.assumingMemoryBound(to: CChar.self), $1)
        }
        guard let names, !names.isEmpty else { return [] }
        var attributes: [ExtendedAttribute] = []
        for name in names.split(separator: 0) where isWanted(name) {
            guard let value = try value(what(), attribute: Array(name), get: get) else { continue }
            attributes.append(ExtendedAttribute(name: Array(name), value: value))
        }
        if attributes.count > 1 { attributes.sort() }
        return attributes
    }

    private static func value(
        _ what: @autoclosure () -> String?,
        attribute: [UInt8],
        get: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
    ) throws(SystemError) -> [UInt8]? {
        let name = TreePath(bytes: attribute)
        return try grow(
            "getxattr",
            [what(), name.printable].compactMap(\.self).joined(separator: " "),
            from: 256,
            expecting: .noData
        ) { buffer, size in
            name.withCPath { get($0, buffer, size) }
        }
    }

    /// Calls with a larger buffer until the answer fits; `nil` where there is no such thing, or no attributes at all.
    private static func grow(
        _ operation: StaticString,
        _ what: @autoclosure () -> String?,
        from initial: Int,
        expecting absent: Errno,
        call: (UnsafeMutableRawPointer, Int) -> Int
    ) throws(SystemError) -> [UInt8]? {
        var size = initial
        while true {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 1)
            defer { buffer.deallocate() }
            guard let base = buffer.baseAddress else { return nil }
            do throws(SystemError) {
                let count = try systemAnswer(operation, what(), expecting: absent, .notSupported) {
                    call(base, size)
                }
                return count.map { Array(buffer[..<$0]) }
            } catch {
                if error.errno != .outOfRange || size > 1 << 20 { throw error }
                size *= 16
            }
        }
    }
}
