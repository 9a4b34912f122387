// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// What the kernel knows of a server's nodes and open files, as records in memory that outlives the server.
///
/// Records are appended to one of two areas and count once the area's length says so, which is stored last: a record
/// that a killed server was about to append is not there. Of a node or file the last record of a kind counts. When the
/// records are many, the owner writes the present state to the other area, which takes the first one's place in one
/// step. Not safe to use from two threads at once.
package final class Journal {
    enum Kind: UInt8 {
        case node = 1
        case name, unname, lookups, gone, file, closed
    }

    /// Words of the header: which area counts, the lengths of both, and whether something found no room.
    package static let headerWords = 4

    /// Below this it is not worth to write all anew.
    private static let smallest = 1 << 20

    private let header: UnsafeMutablePointer<UInt64>
    private let areas: UnsafeMutableRawPointer
    private let size: Int
    private var index: Int
    private var area: UnsafeMutableRawPointer
    private var used: Int
    private var comfortable: Int
    private var isGathering = false

    /// - Parameters:
    ///   - header: zeros, or what an earlier journal left.
    ///   - areas: two of `size` bytes each, a multiple of 8 and of the page size.
    package init(
        header: UnsafeMutablePointer<UInt64>,
        areas: UnsafeMutableRawPointer,
        size: Int
    ) {
        self.header = header
        self.areas = areas
        self.size = size
        index = Int(header[0] & 1)
        area = areas + index * size
        used = Int(clamping: header[1 + index])
        comfortable = min(size / 2, max(Self.smallest, used))
    }

    /// Whether it would be shorter if it were written anew.
    package var isLong: Bool { used > comfortable }

    /// Bytes of records.
    package var length: Int { used }

    // MARK: Records

    /// What a node is, but for its names.
    package struct Node: Hashable {
        package var id: UInt64
        package var inode: UInt64
        /// S_IFMT.
        package var type: UInt32
        package var layer: Int32
        package var hiddenLinks: UInt32 = 0
        /// Which file of several names it is: file system and inode; `nil` for one of one name.
        package var key: Key?
        /// The kernel's backing file, and the layer of that.
        package var backing: Int32 = 0
        package var backingLayer: Int32 = -1

        package struct Key: Hashable {
            package var fileSystem: UInt64
            package var inode: UInt64

            package init(fileSystem: UInt64, inode: UInt64) {
                self.fileSystem = fileSystem
                self.inode = inode
            }
        }

        package init(id: UInt64, inode: UInt64, type: UInt32, layer: Int32) {
            self.id = id
            self.inode = inode
            self.type = type
            self.layer = layer
        }
    }

    /// - Parameters:
    ///   - parts: how many layers a directory lies in, top first.
    ///   - layer: each of them.
    package func append(_ node: Node, parts: Int = 0, layer: (Int) -> Int32 = { _ in -1 }) {
        let size = 64 &+ (parts &* 4 &+ 7) / 8 &* 8
        guard let record = begin(.node, size) else { return }
        record.storeBytes(of: node.id, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: node.inode, toByteOffset: 16, as: UInt64.self)
        record.storeBytes(of: node.type, toByteOffset: 24, as: UInt32.self)
        record.storeBytes(of: node.layer, toByteOffset: 28, as: Int32.self)
        record.storeBytes(of: node.hiddenLinks, toByteOffset: 32, as: UInt32.self)
        record.storeBytes(of: node.key == nil ? 0 : 1, toByteOffset: 36, as: UInt32.self)
        record.storeBytes(of: node.key?.fileSystem ?? 0, toByteOffset: 40, as: UInt64.self)
        record.storeBytes(of: node.key?.inode ?? 0, toByteOffset: 48, as: UInt64.self)
        record.storeBytes(of: node.backing, toByteOffset: 56, as: Int32.self)
        record.storeBytes(of: node.backingLayer, toByteOffset: 60, as: Int32.self)
        for part in 0..<(size &- 64) / 4 {
            record.storeBytes(
                of: part < parts ? layer(part) : -1,
                toByteOffset: 64 &+ part &* 4,
                as: Int32.self
            )
        }
        end(size)
    }

    /// A node stands at a name too.
    package func attach(_ node: UInt64, at name: UnsafePointer<CChar>, _ length: Int, in parent: UInt64) {
        appendName(.name, node, name, length, parent)
    }

    package func detach(_ node: UInt64, from name: UnsafePointer<CChar>, _ length: Int, in parent: UInt64) {
        appendName(.unname, node, name, length, parent)
    }

    private func appendName(
        _ kind: Kind,
        _ node: UInt64,
        _ name: UnsafePointer<CChar>,
        _ length: Int,
        _ parent: UInt64
    ) {
        let size = 32 &+ (length &+ 7) / 8 &* 8
        guard let record = begin(kind, size) else { return }
        record.storeBytes(of: node, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: parent, toByteOffset: 16, as: UInt64.self)
        record.storeBytes(of: UInt64(truncatingIfNeeded: length), toByteOffset: 24, as: UInt64.self)
        memcpy(record + 32, name, length)
        end(size)
    }

    /// How often the kernel was told of a node.
    package func setLookups(of node: UInt64, _ count: UInt64) { append(.lookups, node, count) }

    /// A node is forgotten, with its names.
    package func forget(_ node: UInt64) { append(.gone, node, 0) }

    /// A file is open.
    package func open(_ file: UInt64, _ node: UInt64, flags: Int32, isPassthrough: Bool) {
        guard let record = begin(.file, 32) else { return }
        record.storeBytes(of: file, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: node, toByteOffset: 16, as: UInt64.self)
        record.storeBytes(of: flags, toByteOffset: 24, as: Int32.self)
        record.storeBytes(of: isPassthrough ? 1 : 0, toByteOffset: 28, as: UInt32.self)
        end(32)
    }

    package func close(_ file: UInt64) { append(.closed, file, 0) }

    private func append(_ kind: Kind, _ first: UInt64, _ second: UInt64) {
        guard let record = begin(kind, 24) else { return }
        record.storeBytes(of: first, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: second, toByteOffset: 16, as: UInt64.self)
        end(24)
    }

    /// Room for a record, whose kind and size are there.
    @inline(__always)
    private func begin(_ kind: Kind, _ size: Int) -> UnsafeMutableRawPointer? {
        guard size <= self.size &- used else {
            header[3] = 1
            return nil
        }
        let record = area + used
        record.storeBytes(of: UInt64(kind.rawValue) | UInt64(truncatingIfNeeded: size) << 32, as: UInt64.self)
        return record
    }

    @inline(__always)
    private func end(_ size: Int) {
        used &+= size
        if !isGathering { publish() }
    }

    @inline(__always)
    private func publish() { cfuse_publish(header + 1 + index, UInt64(truncatingIfNeeded: used)) }

    /// Has what `body` appends count all at once.
    package func together(_ body: () -> Void) {
        let isInner = isGathering
        isGathering = true
        body()
        isGathering = isInner
        if !isInner { publish() }
    }

    // MARK: Reading

    /// Whether something is missing, for which there was no room.
    var isIncomplete: Bool { header[3] != 0 }

    /// Calls `body` with each record, aligned to 8 bytes and at least 16 long; whether all are whole, which it says too.
    func forEachRecord(_ body: (Kind, UnsafeRawBufferPointer) -> Bool) -> Bool {
        guard used <= size else { return false }
        var offset = 0
        while offset < used {
            guard used - offset >= 16 else { return false }
            let head = area.load(fromByteOffset: offset, as: UInt64.self)
            let length = Int(head >> 32)
            guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: head)), length >= 16, length % 8 == 0,
                length <= used - offset,
                body(kind, UnsafeRawBufferPointer(start: area + offset, count: length))
            else { return false }
            offset += length
        }
        return true
    }

    // MARK: Writing anew

    /// Lets `body` append all that is to be known, and from then on nothing else counts.
    package func rewrite(_ body: (Journal) -> Void) {
        let old = (index: index, area: area, used: used, isFull: header[3])
        index = 1 - old.index
        area = areas + index * size
        used = 0
        header[3] = 0
        cfuse_publish(header + 1 + index, 0)
        body(self)
        if header[3] != 0 {
            // No shorter than before; then the old one goes on, as far as it had room.
            (index, area, used) = (old.index, old.area, old.used)
            header[3] = old.isFull
            comfortable = .max
            return
        }
        cfuse_publish(header, UInt64(index))
        if old.used > 4 * Self.smallest { cfuse_give_back(old.area, size) }
        comfortable = min(size / 2, max(Self.smallest, used &* 3))
    }
}
