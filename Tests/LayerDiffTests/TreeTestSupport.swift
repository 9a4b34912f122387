// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LayerDiff
import LinuxSys
import Overlay
import Storage
import SystemPackage
import TestGates

/// A layer in memory.
final class MemoryLayer: LayerEntrySource {
    let label = "layer of the test"
    private let items: [TreeItem]
    private var position = -1

    init(_ items: [TreeItem]) { self.items = items }

    func next() -> LayerEntry? {
        position += 1
        return position < items.count ? items[position].entry : nil
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try items[position].content.withUnsafeBytes { try body($0) }
    }

    func writeContent(to file: CInt) throws { try Files.writeAll(items[position].content, to: file) }
}

/// An entry of a layer with its content.
struct TreeItem {
    var entry: LayerEntry
    var content: [UInt8] = []

    static func entry(
        _ name: String,
        _ kind: LayerEntry.Kind,
        mode: UInt32 = 0o644,
        owner: (UInt32, UInt32) = (0, 0),
        time: Int64 = 1000,
        _ xattrs: [ExtendedAttribute] = []
    ) -> TreeItem {
        TreeItem(
            entry: LayerEntry(
                path: TreePath(bytes: Array(name.utf8)),
                kind: kind,
                mode: mode,
                uid: owner.0,
                gid: owner.1,
                mtime: Timestamp(seconds: time, nanoseconds: 5),
                xattrs: xattrs.sorted()
            )
        )
    }

    static func file(
        _ name: String,
        _ text: String = "",
        mode: UInt32 = 0o644,
        owner: (UInt32, UInt32) = (0, 0),
        _ xattrs: [ExtendedAttribute] = []
    ) -> TreeItem {
        var item = entry(name, .regular(size: Int64(text.utf8.count)), mode: mode, owner: owner, xattrs)
        item.content = Array(text.utf8)
        return item
    }

    static func directory(_ name: String, mode: UInt32 = 0o755, time: Int64 = 1000) -> TreeItem {
        entry(name, .directory, mode: mode, time: time)
    }

    static func link(_ name: String, to target: String) -> TreeItem {
        entry(name, .hardLink(target: TreePath(bytes: Array(target.utf8))))
    }

    static func symlink(_ name: String, to target: String) -> TreeItem {
        entry(name, .symlink(target: Array(target.utf8)), mode: 0o777)
    }
}

extension TreeItem {
    /// Entries at random places of a small tree.
    static func randomLayer(withLinks: Bool, using generator: inout SeededGenerator) -> [TreeItem] {
        (0..<Int.random(in: 0...24, using: &generator)).map { number in
            let name = randomName(using: &generator)
            let time = Int64.random(in: -9...9, using: &generator)
            switch Int.random(in: 0..<(withLinks ? 13 : 11), using: &generator) {
            case 0...3: return .file(name, "\(number)", owner: (UInt32(number % 3), 0))
            case 4, 5: return .directory(name, mode: number % 2 == 0 ? 0o1777 : 0o2750, time: time)
            case 6: return .symlink(name, to: randomName(using: &generator))
            case 7: return .entry(name, .fifo, time: time, [ExtendedAttribute("trusted.t", "\(number)")])
            case 8: return .entry(name, .whiteout)
            case 9: return .entry(name, .opaque)
            case 10: return .entry(name, .directory, [ExtendedAttribute("user.number", "\(number)")])
            default: return .link(name, to: randomName(using: &generator))
            }
        }
    }

    private static func randomName(using generator: inout SeededGenerator) -> String {
        let depth = Int.random(in: 1...4, using: &generator)
        return (0..<depth).map { _ in ["a", "b", "c"].randomElement(using: &generator) ?? "a" }.joined(
            separator: "/"
        )
    }
}

extension ExtendedAttribute {
    init(_ name: String, _ value: String) { self.init(name: Array(name.utf8), value: Array(value.utf8)) }
}

/// Layers on top of each other, kept twice: as whole trees, and as layers that the kernel's overlay puts together.
final class BothForms {
    let home: TemporaryDirectory
    let form = OverlayForm(kernelEscapes: { true })
    /// Names of the layers that are seen, the base first.
    private(set) var layers: [String] = []
    private(set) var count = 0
    private var open: [SharedFD] = []
    /// The newest whole tree.
    var whole: CInt { wholeFD?.raw ?? -1 }
    private var wholeFD: SharedFD?

    init() throws {
        home = try TemporaryDirectory()
        try Files.makeDirectory("empty", below: home.fd, mode: 0o755)
    }

    /// Adds a layer in both forms.
    ///
    /// Says what each made of it: nil, or why not.
    func add(_ items: [TreeItem]) throws -> (whole: StorageError?, layer: StorageError?) {
        count += 1
        let whole = attempt { try self.addWhole(items) }
        let layer = attempt { try self.addLayer(items) }
        return (whole, layer)
    }

    private func attempt(_ body: () throws -> Void) -> StorageError? {
        do {
            try body()
            return nil
        } catch let error as StorageError {
            return error
        } catch {
            return StorageError(.system, "\(error)")
        }
    }

    private func addWhole(_ items: [TreeItem]) throws {
        try Files.makeDirectory("whole\(count)", below: home.fd, mode: 0o755)
        let tree = try Files.openDirectory("whole\(count)", below: home.fd)
        if let wholeFD {
            try TreeCopier.copy(from: wholeFD.raw, to: tree.raw)
        } else {
            try system("futimens") { clinux_utimensat(tree.raw, "", 0, 0, 0) }
        }
        var applier = TreeApplier(root: tree.raw, form: PlainForm(), label: "whole")
        _ = try applier.apply(MemoryLayer(items))
        wholeFD = SharedFD(tree)
    }

    /// Adds an empty layer and gives its root, open as long as this lives.
    func makeLayer(_ name: String) throws -> CInt {
        try Files.makeDirectory(name, below: home.fd, mode: 0o755)
        let tree = SharedFD(try Files.openDirectory(name, below: home.fd))
        open.append(tree)
        layers.append(name)
        return tree.raw
    }

    private func addLayer(_ items: [TreeItem]) throws {
        let name = "layer\(count)"
        try Files.makeDirectory(name, below: home.fd)
        let tree = try Files.openDirectory(name, below: home.fd)
        var applier = TreeApplier(root: tree.raw, form: form, label: "layer")
        let undecided = try applier.apply(MemoryLayer(items))
        let parent = layers.isEmpty ? nil : SharedFD(try merged())
        try resolve(undecided, root: tree.raw, form: form, parentRoot: parent?.raw, label: "layer")
        if try form.isOpaque(tree.raw) { layers = [] }
        layers.append(name)
    }

    /// The layers as one tree.
    func merged() throws -> OwnedFD {
        try OverlayMount(directory: home.path, parents: layers, empty: "empty").make()
    }

    /// How the merged layers differ from the whole tree.
    func differences() throws -> [Change] {
        let merged = try merged()
        return try TreeComparison.changes(parent: merged.raw, tree: whole)
    }
}

/// A fresh tree with one layer in it.
final class OneTree {
    let home: TemporaryDirectory
    let fd: OwnedFD

    init() throws {
        home = try TemporaryDirectory()
        try Files.makeDirectory("tree", below: home.fd, mode: 0o755)
        fd = try Files.openDirectory("tree", below: home.fd)
    }

    convenience init(_ items: [TreeItem]) throws {
        self.init(try OneTree())
        try apply(items)
    }

    private init(_ other: OneTree) {
        home = other.home
        fd = OwnedFD(adopting: dup(other.fd.raw))
    }

    func apply(_ items: [TreeItem]) throws {
        var applier = TreeApplier(root: fd.raw, form: PlainForm(), label: "test")
        _ = try applier.apply(MemoryLayer(items))
    }

    func status(_ name: String) throws -> FileStatus? {
        let parent = try Files.openParent(of: TreePath(bytes: Array(name.utf8)), in: fd.raw)
        return try Files.status(TreePath(bytes: Array(name.utf8)).name, below: parent.raw)
    }

    func contents(_ name: String) throws -> String {
        String(decoding: try Files.contents(name, below: fd.raw), as: UTF8.self)
    }
}

/// Random numbers that are the same in every run with the same seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
