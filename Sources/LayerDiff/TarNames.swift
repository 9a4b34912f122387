// SPDX-License-Identifier: Apache-2.0

import LinuxSys

/// Turns a name of a tar into a path of a tree, or says why it cannot be one.
enum TarNames {
    struct Fault: Error {
        let reason: String

        init(_ reason: String) { self.reason = reason }
    }

    /// What the last component of a name means.
    enum Meaning: Equatable {
        case plain
        /// `.wh.NAME`; the path is that of NAME.
        case whiteout
        /// `.wh..wh..opq`; the path is that of the directory.
        case opaque
    }

    /// `/` and `./` at the start, doubled slashes and `.` are left out; `..` is refused wherever it stands.
    static func path(_ name: [UInt8], limits: LayerLimits) throws(Fault) -> TreePath {
        if name.isEmpty { throw Fault("empty name") }
        if name.count > limits.path {
            throw Fault("a name of \(name.count) bytes; \(limits.path) are allowed")
        }
        if isClean(name, limits) { return TreePath(bytes: name) }
        var clean: [UInt8] = []
        clean.reserveCapacity(name.count)
        for component in name.split(separator: UInt8(ascii: "/")) {
            if component.elementsEqual([0x2E]) { continue }
            if component.elementsEqual([0x2E, 0x2E]) { throw Fault("a name with \"..\"") }
            // What a whiteout hides may have a name of full length; its own is no file's.
            if component.count > limits.name + (component.starts(with: mark) ? mark.count : 0) {
                throw Fault("a name with a component of \(component.count) bytes; \(limits.name) are allowed")
            }
            if !clean.isEmpty { clean.append(UInt8(ascii: "/")) }
            clean += component
        }
        if clean.contains(0) { throw Fault("a name with NUL") }
        return TreePath(bytes: clean)
    }

    /// Whether the name is a path as it stands: the usual case, decided without an allocation.
    private static func isClean(_ name: [UInt8], _ limits: LayerLimits) -> Bool {
        name.withUnsafeBufferPointer { bytes in
            var length = 0
            for byte in bytes {
                if byte == UInt8(ascii: "/") {
                    if length == 0 || length > limits.name { return false }
                    length = 0
                } else {
                    // A component that starts with a dot is left to the thorough way.
                    if byte == 0 || length == 0 && byte == UInt8(ascii: ".") { return false }
                    length += 1
                }
            }
            return length > 0 && length <= limits.name
        }
    }

    /// Tells whiteouts from plain paths; `path` becomes what is hidden.
    static func meaning(of path: inout TreePath) throws(Fault) -> Meaning {
        guard hasMark(path.bytes) else { return .plain }
        let components = path.components
        guard let last = components.last,
            !components.dropLast().contains(where: { $0.bytes.starts(with: mark) })
        else {
            throw Fault("a file below a whiteout")
        }
        let directory = TreePath(
            bytes: Array(components.dropLast().map(\.bytes).joined(separator: CollectionOfOne(0x2F)))
        )
        if last.bytes == mark + Array(".wh..opq".utf8) {
            path = directory
            return .opaque
        }
        let hidden = Array(last.bytes.dropFirst(mark.count))
        if hidden.starts(with: mark) { throw Fault("unknown whiteout mark") }
        if hidden.isEmpty || hidden == [0x2E] || hidden == [0x2E, 0x2E] {
            throw Fault("a whiteout of nothing")
        }
        path = directory.appending(TreePath(bytes: hidden))
        return .whiteout
    }

    static let mark = Array(".wh.".utf8)

    /// Whether any component starts with the mark.
    static func hasMark(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBufferPointer { bytes in
            var atStart = true
            for index in bytes.indices {
                if atStart, bytes[index] == 0x2E, bytes[index...].starts(with: mark) { return true }
                atStart = bytes[index] == UInt8(ascii: "/")
            }
            return false
        }
    }
}
