// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing

/// A source that another thread reads says the same.
struct ReadAheadTests {
    private struct Failure: Error {}

    /// Fails at one of its entries.
    private final class FailingLayer: LayerEntrySource {
        let label = "failing layer"
        private var left: Int

        init(after count: Int) { left = count }

        func next() throws -> LayerEntry? {
            if left == 0 { throw Failure() }
            left -= 1
            return TreeItem.directory("d\(left)").entry
        }

        func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {}
        func writeContent(to file: CInt) throws {}
    }

    private static let items: [TreeItem] = (0..<20_000).map { number in
        if number % 4 == 0 { return .directory("d\(number)", time: Int64(number)) }
        let size = number % 3000 == 1 ? 1_000_000 : number % 700
        return .file("f\(number)", String(repeating: "x", count: size))
    }

    private func contents(of source: any LayerEntrySource) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try source.readContent { bytes += $0 }
        return bytes
    }

    @Test
    func entriesAndContentComeInOrder() throws {
        let items = Self.items
        try ReadAhead.reading(MemoryLayer(items), count: items.count) { source in
            #expect(source is ReadAhead)
            for item in items {
                let entry = try #require(try source.next())
                guard entry.path == item.entry.path, entry.kind == item.entry.kind else {
                    Issue.record("\(entry.path) in place of \(item.entry.path)")
                    return
                }
                if case .regular(let size) = entry.kind, size > 0 {
                    let isSame = try contents(of: source) == item.content
                    #expect(isSame, "\(entry.path)")
                }
            }
            #expect(try source.next() == nil)
        }
    }

    @Test
    func contentThatNobodyWantsIsPassedOver() throws {
        var names: [TreePath] = []
        try ReadAhead.reading(MemoryLayer(Self.items), count: Self.items.count) { source in
            while let entry = try source.next() { names.append(entry.path) }
        }
        #expect(names == Self.items.map(\.entry.path))
    }

    @Test
    func fewEntriesAreReadByTheCaller() throws {
        let source = MemoryLayer([.directory("d")])
        try ReadAhead.reading(source, count: 1) { #expect($0 === source) }
    }

    @Test(arguments: [0, 1, 100, 30_000])
    func aFailureComesAfterWhatWasRead(_ count: Int) {
        var taken = 0
        #expect(throws: Failure.self) {
            try ReadAhead.reading(FailingLayer(after: count), count: 64) { source in
                while try source.next() != nil { taken += 1 }
            }
        }
        #expect(taken == count)
    }

    @Test
    func whoeverGivesUpEarlyEndsIt() {
        #expect(throws: Failure.self) {
            try ReadAhead.reading(MemoryLayer(Self.items), count: Self.items.count) { source in
                _ = try source.next()
                throw Failure()
            }
        }
    }

    /// The body may leave entries; the source is read to its end all the same.
    @Test
    func whatTheBodyLeavesIsRead() throws {
        final class Counting: LayerEntrySource {
            let label = "counting layer"
            var count = 0
            func next() -> LayerEntry? {
                count += 1
                return count <= 1000 ? TreeItem.directory("d\(count)").entry : nil
            }
            func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {}
            func writeContent(to file: CInt) throws {}
        }
        let source = Counting()
        try ReadAhead.reading(source, count: 1000) { _ = try $0.next() }
        #expect(source.count == 1001)
    }

    @Test(.requires(.root))
    func zerosBecomeHoles() throws {
        var item = TreeItem.entry("zeros", .regular(size: 1 << 20))
        item.content = [UInt8](repeating: 0, count: 1 << 20)
        item.content[500_000] = 1
        let tree = try OneTree()
        var applier = TreeApplier(root: tree.fd.raw, form: PlainForm(), label: "test")
        try ReadAhead.reading(MemoryLayer([item]), count: 64) { _ = try applier.apply($0) }
        let status = try #require(try tree.status("zeros"))
        #expect(status.size == 1 << 20 && status.blocks * 512 < 1 << 20)
        #expect(try Files.contents("zeros", below: tree.fd.raw) == item.content)
    }
}
