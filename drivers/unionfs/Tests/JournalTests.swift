// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing
import UnionJournal

/// Memory of a journal, as servers share it.
private final class Memory {
    let header = UnsafeMutablePointer<UInt64>.allocate(capacity: Journal.headerWords)
    let areas: UnsafeMutableRawPointer
    let size: Int

    init(size: Int = 1 << 16) {
        header.initialize(repeating: 0, count: Journal.headerWords)
        areas = .allocate(byteCount: 2 * size, alignment: 4096)
        memset(areas, 0xA5, 2 * size)
        self.size = size
    }

    deinit {
        header.deallocate()
        areas.deallocate()
    }

    /// As the next server finds it.
    func journal() -> Journal { Journal(header: header, areas: areas, size: size) }
}

struct JournalTests {
    private func attach(
        _ journal: Journal,
        _ node: UInt64,
        _ name: String,
        in parent: UInt64,
        isGone: Bool = false
    ) {
        let bytes = name.utf8.map { CChar(bitPattern: $0) }
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            if isGone {
                journal.detach(node, from: base, buffer.count, in: parent)
            } else {
                journal.attach(node, at: base, buffer.count, in: parent)
            }
        }
    }

    private func names(_ state: JournalState?, _ node: UInt64) -> [String] {
        state?.nodes[node]?.names.map { "\($0.parent)/" + String(decoding: $0.bytes, as: UTF8.self) } ?? []
    }

    @Test func saysWhatWasNoted() {
        let memory = Memory()
        let journal = memory.journal()
        var file = Journal.Node(id: 7, inode: 70, type: UInt32(S_IFREG), layer: 2)
        file.key = .init(fileSystem: 1, inode: 99)
        file.hiddenLinks = 3
        (file.backing, file.backingLayer) = (5, 2)
        let directory = Journal.Node(id: 8, inode: 80, type: UInt32(S_IFDIR), layer: 0)
        journal.append(file)
        journal.append(directory, parts: 3) { [0, 4, 9][$0] }
        let long = String(repeating: "n", count: 255)
        attach(journal, 7, "a", in: 8)
        attach(journal, 7, long, in: 1)
        attach(journal, 8, "d", in: 1)
        attach(journal, 7, "a", in: 8, isGone: true)
        journal.setLookups(of: 7, 4)
        journal.setLookups(of: 7, 5)
        journal.open(1, 7, flags: O_RDWR, isPassthrough: true)
        journal.open(2, 7, flags: O_RDONLY, isPassthrough: false)
        journal.close(2)
        journal.append(Journal.Node(id: 9, inode: 90, type: 0, layer: 0))
        attach(journal, 9, "gone", in: 8)
        journal.forget(9)

        let state = memory.journal().replay()
        #expect(state?.nodes.keys.sorted() == [7, 8])
        #expect(state?.nodes[7]?.node == file)
        #expect(state?.nodes[7]?.lookups == 5)
        #expect(names(state, 7) == ["1/" + long])
        #expect(state?.nodes[8]?.parts == [0, 4, 9])
        #expect(state?.files.keys.sorted() == [1])
        #expect(state?.files[1]?.node == 7)
        #expect(state?.files[1]?.flags == O_RDWR)
        #expect(state?.files[1]?.isPassthrough == true)
    }

    /// A server may be killed between any two stores: only what was published counts.
    @Test func leavesOutATornRecord() {
        let memory = Memory()
        let journal = memory.journal()
        attach(journal, 2, "whole", in: 1)
        let (whole, length) = (memory.header[1], journal.length)
        attach(journal, 3, "torn", in: 1)
        for rest in [0, 8, 16, 24, 32] {
            // The record up to there, as it would be without its length in the header.
            memset(memory.areas + length + rest, 0xFF, 64)
            memory.header[1] = whole
            #expect(memory.journal().replay()?.nodes.keys.sorted() == [2])
        }
        // The next server appends over it.
        let next = memory.journal()
        attach(next, 4, "next", in: 1)
        #expect(names(memory.journal().replay(), 4) == ["1/next"])
        #expect(memory.journal().replay()?.nodes.keys.sorted() == [2, 4])
    }

    /// Offsets, and what is there.
    private static let damages: [(Int, UInt64)] = [
        (0, 200), (0, 0x4_0000_0001), (0, 0xC_0000_0002), (0, 0x1000_0000_0000_0002), (24, 1000), (24, .max),
    ]

    /// What makes no sense is not believed.
    @Test(arguments: damages)
    func refusesDamage(_ offset: Int, _ word: UInt64) {
        let memory = Memory()
        attach(memory.journal(), 2, "name", in: 1)
        memory.areas.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
        #expect(memory.journal().replay() == nil)
        memory.header[1] = .max
        #expect(memory.journal().replay() == nil)
    }

    @Test func isWrittenAnew() {
        let memory = Memory()
        let journal = memory.journal()
        for number in 0..<500 { journal.setLookups(of: 2, UInt64(number)) }
        let before = journal.length
        journal.rewrite { journal in
            // Killed now, the old area still counts.
            journal.setLookups(of: 2, 1000)
            #expect(memory.journal().replay()?.nodes[2]?.lookups == 499)
        }
        #expect(journal.length < before)
        #expect(memory.journal().replay()?.nodes[2]?.lookups == 1000)
        journal.setLookups(of: 2, 1001)
        journal.rewrite { $0.setLookups(of: 3, 1) }
        #expect(memory.journal().replay()?.nodes.keys.sorted() == [3])
    }

    @Test func saysThatItIsFull() {
        let memory = Memory(size: 4096)
        let journal = memory.journal()
        for number in 0..<1000 { journal.setLookups(of: UInt64(number), 1) }
        #expect(journal.length <= 4096)
        #expect(memory.journal().replay() == nil)
        // What still does not fit leaves it as it is; what fits, heals it.
        journal.rewrite { for number in 0..<1000 { $0.setLookups(of: UInt64(number), 1) } }
        #expect(memory.journal().replay() == nil)
        journal.rewrite { $0.setLookups(of: 1, 1) }
        #expect(memory.journal().replay()?.nodes.keys.sorted() == [1])
    }
}
