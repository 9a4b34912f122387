// SPDX-License-Identifier: Apache-2.0

/// What the records of a journal come to.
package struct JournalState {
    package struct Name: Hashable {
        package var parent: UInt64
        package var bytes: [UInt8]
    }

    package struct Known {
        /// `nil` where only a name or count was noted.
        package var node: Journal.Node?
        package var parts: [Int32] = []
        package var names: [Name] = []
        package var lookups: UInt64 = 0
    }

    package struct File: Hashable {
        package var node: UInt64
        package var flags: Int32
        package var isPassthrough: Bool
    }

    package var nodes: [UInt64: Known] = [:]
    package var files: [UInt64: File] = [:]
}

extension Journal {
    /// What the records say; `nil` if they are not whole, or something found no room.
    package func replay() -> JournalState? {
        guard !isIncomplete else { return nil }
        var state = JournalState()
        let isWhole = forEachRecord { kind, record in
            switch kind {
            case .node: return Self.readNode(record, into: &state)
            case .name, .unname: return Self.readName(record, isThere: kind == .name, into: &state)
            case .lookups:
                guard record.count >= 24 else { return false }
                state.nodes[record.word(8), default: .init()].lookups = record.word(16)
                return true
            case .gone:
                state.nodes[record.word(8)] = nil
                return true
            case .file:
                guard record.count >= 32 else { return false }
                state.files[record.word(8)] = JournalState.File(
                    node: record.word(16),
                    flags: record.load(fromByteOffset: 24, as: Int32.self),
                    isPassthrough: record.load(fromByteOffset: 28, as: UInt32.self) != 0
                )
                return true
            case .closed:
                state.files[record.word(8)] = nil
                return true
            }
        }
        return isWhole ? state : nil
    }

    private static func readNode(_ record: UnsafeRawBufferPointer, into state: inout JournalState) -> Bool {
        guard record.count >= 64 else { return false }
        let id = record.word(8)
        var node = Node(
            id: id,
            inode: record.word(16),
            type: record.load(fromByteOffset: 24, as: UInt32.self),
            layer: record.load(fromByteOffset: 28, as: Int32.self)
        )
        node.hiddenLinks = record.load(fromByteOffset: 32, as: UInt32.self)
        if record.load(fromByteOffset: 36, as: UInt32.self) != 0 {
            node.key = Node.Key(fileSystem: record.word(40), inode: record.word(48))
        }
        node.backing = record.load(fromByteOffset: 56, as: Int32.self)
        node.backingLayer = record.load(fromByteOffset: 60, as: Int32.self)
        var parts: [Int32] = []
        for offset in stride(from: 64, to: record.count, by: 4) {
            let layer = record.load(fromByteOffset: offset, as: Int32.self)
            if layer >= 0 { parts.append(layer) }
        }
        state.nodes[id, default: .init()].node = node
        state.nodes[id]?.parts = parts
        return true
    }

    private static func readName(
        _ record: UnsafeRawBufferPointer,
        isThere: Bool,
        into state: inout JournalState
    ) -> Bool {
        guard record.count >= 32, record.word(24) <= UInt64(record.count - 32) else { return false }
        let id = record.word(8)
        let bytes = Array(record[32..<(32 + Int(record.word(24)))])
        let name = JournalState.Name(parent: record.word(16), bytes: bytes)
        state.nodes[id, default: .init()].names.removeAll { $0 == name }
        if isThere { state.nodes[id]?.names.append(name) }
        return true
    }
}

extension UnsafeRawBufferPointer {
    /// The 64-bit word at an offset, which is there.
    fileprivate func word(_ offset: Int) -> UInt64 { load(fromByteOffset: offset, as: UInt64.self) }
}
