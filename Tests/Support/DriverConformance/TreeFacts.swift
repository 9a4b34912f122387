// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
package import LinuxSys
import Storage
import SystemPackage

/// Everything that one sees of a tree, to compare it with another: names, types, modes, owners, devices, times,
/// attributes, link targets, hard-link groups, sizes and content.
package struct TreeFacts: Sendable, Equatable {
    package struct Fact: Hashable, Sendable {
        package var kind: FileKind
        package var mode: UInt32
        package var uid: UInt32
        package var gid: UInt32
        package var rdev: DeviceNumber
        package var mtime: Timestamp
        package var xattrs: [ExtendedAttribute]
        package var linkTarget: [UInt8]
        /// Of a regular file: its length and a hash of its content.
        package var size: Int64
        package var content: UInt64
        /// Of a file of a megabyte or more: whether less than half of it is on disk.
        package var isSparse: Bool
        /// The first name of the file, if it has several; else nothing.
        package var group: TreePath?
    }

    package private(set) var facts: [TreePath: Fact] = [:]
    package private(set) var root: Fact?

    /// - Parameter directory: the root of the tree, or of a detached mount.
    package init(of directory: CInt) throws {
        var groups: [UInt64: [TreePath]] = [:]
        let stack = DirectoryStack(root: directory)
        root = try Self.fact(of: ".", below: directory, try Files.status(of: directory))
        var frames: [(path: TreePath, names: [DirectoryEntry])] = [(.root, try Files.list(directory))]
        while let last = frames.indices.last {
            guard let entry = frames[last].names.popLast() else {
                frames.removeLast()
                if !frames.isEmpty { try stack.pop() }
                continue
            }
            guard let status = try Files.status(entry.name, below: stack.top) else {
                throw ConformanceFailure("\(frames[last].path.appending(entry.name)) is listed but not there")
            }
            if let kind = entry.kind, kind != status.kind {
                throw ConformanceFailure(
                    "\(frames[last].path.appending(entry.name)) is listed as \(kind), not \(status.kind)"
                )
            }
            let path = frames[last].path.appending(entry.name)
            facts[path] = try Self.fact(of: entry.name, below: stack.top, status)
            if status.kind == .directory {
                try stack.push(entry.name)
                frames.append((path, try Files.list(stack.top)))
            } else if status.links > 1 {
                groups[status.inode, default: []].append(path)
            }
        }
        for names in groups.values where names.count > 1 {
            let first = names.min()
            for name in names { facts[name]?.group = first }
        }
    }

    private static func fact(of name: TreePath, below directory: CInt, _ status: FileStatus) throws -> Fact {
        var fact = Fact(
            kind: status.kind,
            mode: status.mode,
            uid: status.uid,
            gid: status.gid,
            rdev: status.kind == .characterDevice || status.kind == .blockDevice
                ? status.rdev : DeviceNumber(major: 0, minor: 0),
            mtime: status.mtime,
            xattrs: try ExtendedAttributes.read(name, below: directory),
            linkTarget: status.kind == .symlink ? try Files.readLink(name, below: directory) : [],
            size: 0,
            content: 0,
            isSparse: false,
            group: nil
        )
        if status.kind == .regular {
            fact.size = status.size
            fact.isSparse = status.size >= 1 << 20 && status.blocks * 512 < status.size / 2
            fact.content = try hash(of: name, below: directory)
        }
        return fact
    }

    /// FNV-1a, of 8 bytes at a time.
    private static func hash(of name: TreePath, below directory: CInt) throws -> UInt64 {
        let file = try Files.open(name, below: directory, O_RDONLY | O_NOFOLLOW)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 8)
        defer { buffer.deallocate() }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        while true {
            let count = try Files.read(file.raw, into: buffer)
            if count == 0 { return hash }
            for index in count..<min(buffer.count, (count + 7) / 8 * 8) { buffer[index] = 0 }
            for word in buffer.bindMemory(to: UInt64.self)[..<((count + 7) / 8)] {
                hash = (hash ^ word) &* 0x100_0000_01B3
            }
        }
    }

    /// What differs, a line for each path; empty where nothing does.
    package func differences(from other: TreeFacts, names: (String, String)) -> [String] {
        var lines: [String] = []
        if root != other.root { lines.append("/: \(Self.difference(root, other.root, names))") }
        for path in Set(facts.keys).union(other.facts.keys).sorted() where facts[path] != other.facts[path] {
            lines.append("\(path): \(Self.difference(facts[path], other.facts[path], names))")
        }
        return lines
    }

    private static func difference(_ mine: Fact?, _ others: Fact?, _ names: (String, String)) -> String {
        guard let mine else { return "only in \(names.1)" }
        guard let others else { return "only in \(names.0)" }
        var parts: [String] = []
        for (one, two) in zip(Mirror(reflecting: mine).children, Mirror(reflecting: others).children)
        where "\(one.value)" != "\(two.value)" {
            parts.append("\(one.label ?? "") \(one.value) in \(names.0), \(two.value) in \(names.1)")
        }
        return parts.joined(separator: "; ")
    }

    /// One line for each path but the root, sorted: `dir/` `file` `link -> target`, with `=` and the first name of its
    /// group where a file has several.
    package var names: [String] {
        facts.sorted { $0.key < $1.key }.map { path, fact in
            let group = fact.group.map { " = \($0.printable)" } ?? ""
            switch fact.kind {
            case .directory: return path.printable + "/"
            case .symlink: return "\(path.printable) -> \(TreePath(bytes: fact.linkTarget).printable)\(group)"
            case .regular: return path.printable + group
            case .characterDevice, .blockDevice:
                return "\(path.printable) \(fact.rdev.major):\(fact.rdev.minor)\(group)"
            case .fifo: return path.printable + "|" + group
            case .socket: return path.printable + " socket" + group
            }
        }
    }
}

/// A driver that does not do what the suite states.
package struct ConformanceFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
