// SPDX-License-Identifier: Apache-2.0

import DriverCatalog
import Glibc
import LayerDiff
import LayerStore
import LinuxSys
import Storage
import StoreRoot
import Synchronization
import SystemPackage
import TestGates

/// A store in a fresh directory; `open` gives what another process would have: own rows, own locks, own drivers.
final class Fixture: Sendable {
    let directory: TemporaryDirectory
    let faults = Faults()
    let warnings = Mutex<[String]>([])

    /// - Parameter driver: lies on a file system that it works on.
    init(_ driver: String = "overlay2") throws {
        directory =
            try driver == "btrfs"
            ? TemporaryDirectory(below: LoopFileSystem.shared(driver).path) : TemporaryDirectory()
        let home = directory.appending("root").appending("drivers")
        Faults.registry.withLock { $0[home.string] = faults }
    }

    deinit {
        let home = directory.appending("root").appending("drivers")
        Faults.registry.withLock { _ = $0.removeValue(forKey: home.string) }
    }

    var rootPath: FilePath { directory.appending("root") }

    func root() throws -> StoreRoot {
        try StoreRoot.open(rootPath, run: directory.appending("run"), access: .write)
    }

    func open(
        _ drivers: [DriverEntry] = Fixture.faultyDrivers,
        options: [String: String] = [:]
    ) throws -> LayerStore {
        try LayerStore(try root(), drivers: drivers, options: options) { warning in
            self.warnings.withLock { $0.append(warning) }
        }
    }

    static let faultyDrivers = DriverCatalog.entries.map {
        DriverEntry(faulty($0.type), isLastResort: $0.isLastResort, summary: $0.summary)
    }

    private static func faulty<Inner: StorageDriver>(_ type: Inner.Type) -> any StorageDriver.Type {
        Faulty<Inner>.self
    }

    /// Everything of the drivers that is on disk: layers, half-made ones and trash.
    func leftOvers(_ driver: String = "overlay2") throws -> [String] {
        var names: [String] = []
        for place in ["layers", "staging", "work", "trash"] {
            let path = rootPath.appending("drivers").appending(driver).appending(place)
            guard try Files.status(path) != nil else { continue }
            let directory = try Files.openDirectory(path)
            names += try Files.list(directory.raw).map { "\(place)/\($0.name.printable)" }
        }
        return names.sorted()
    }

    /// Lock files of things that are not there; that of a layer may stay as long as the layer.
    func lockNames() throws -> [String] {
        let root = try root()
        let layers = Set(try root.database.query("SELECT id FROM layers") { $0.text(0) })
        return try root.lockNames().filter { $0 != StoreRoot.layoutLock && !layers.contains($0) }.sorted()
    }
}

/// A layer tar in memory, with what an image says of it.
struct TarLayer: Sendable {
    var bytes: [UInt8]
    var diffID: Digest
    let opened = Counter()

    init(_ entries: [(LayerEntry, [UInt8])]) throws {
        let sink = CollectingSink()
        let writer = TarWriter(sink)
        for (entry, content) in entries {
            try writer.append(entry) { emit in try content.withUnsafeBytes { try emit($0) } }
        }
        try writer.finish()
        bytes = sink.bytes
        diffID = Digest.sha256(of: sink.bytes)
    }

    func stream() throws -> LayerStream {
        opened.increment()
        let options = LayerStreamOptions(label: "layer \(diffID)", expectedDiffID: diffID)
        return try LayerStream(source: MemorySource(bytes), options: options)
    }
}

final class Counter: Sendable {
    private let value = Atomic<Int>(0)
    func increment() { value.wrappingAdd(1, ordering: .relaxed) }
    var count: Int { value.load(ordering: .relaxed) }
}

/// An image: its layers as sources, base first.
struct TestImage: Sendable {
    var layers: [TarLayer]

    var sources: [LayerSource] {
        var chainID: Digest?
        return layers.map { layer in
            let id = Digest.chainID(parent: chainID, diffID: layer.diffID)
            chainID = id
            return LayerSource(
                diffID: layer.diffID,
                chainID: id,
                size: Int64(layer.bytes.count),
                open: { try layer.stream() }
            )
        }
    }

    /// The same without blobs.
    var bare: [LayerSource] {
        sources.map {
            LayerSource(
                diffID: $0.diffID,
                chainID: $0.chainID,
                size: nil,
                open: { throw StorageError(.notFound, "no blob") }
            )
        }
    }

    var chainID: Digest {
        get throws { try unwrap(sources.last?.chainID) }
    }

    /// Three layers: files, an implied directory, a deletion.
    static func sample(_ mark: String = "") throws -> TestImage {
        TestImage(layers: [
            try TarLayer([
                directory("etc"), file("etc/passwd", "root\(mark)"), directory("tmp", mode: 0o1777),
                file("gone", "x"),
            ]),
            try TarLayer([
                file("tmp/inside", "1"), whiteout("gone"), file("usr/bin/tool", "#!", mode: 0o4755),
            ]),
            try TarLayer([file("etc/group", "wheel"), symlink("link", "etc/passwd")]),
        ])
    }

    /// Rows that name the image, as its owner writes them.
    func record(_ id: String, in transaction: Transaction) throws {
        try transaction.run(
            "INSERT OR REPLACE INTO images (id, created, added, size, config) VALUES (?, 0, 0, 0, ?)",
            [.text(id), .blob([])]
        )
        for (position, source) in sources.enumerated() {
            try transaction.run(
                "INSERT OR REPLACE INTO image_layers (image, position, diff_id, chain_id) VALUES (?, ?, ?, ?)",
                [
                    .text(id), .integer(Int64(position)), .text(source.diffID.description),
                    .text(source.chainID.description),
                ]
            )
        }
    }

    static func forget(_ id: String, in transaction: Transaction) throws {
        try transaction.run("DELETE FROM image_layers WHERE image = ?", [.text(id)])
        try transaction.run("DELETE FROM images WHERE id = ?", [.text(id)])
    }
}

func file(_ path: String, _ content: String, mode: UInt32 = 0o644) -> (LayerEntry, [UInt8]) {
    let bytes = Array(content.utf8)
    let kind = LayerEntry.Kind.regular(size: Int64(bytes.count))
    return (
        LayerEntry(path: TreePath(cleaning: path), kind: kind, mode: mode, mtime: Timestamp(seconds: 1000)),
        bytes
    )
}

func directory(_ path: String, mode: UInt32 = 0o755) -> (LayerEntry, [UInt8]) {
    (
        LayerEntry(
            path: TreePath(cleaning: path),
            kind: .directory,
            mode: mode,
            mtime: Timestamp(seconds: 2000)
        ), []
    )
}

func symlink(_ path: String, _ target: String) -> (LayerEntry, [UInt8]) {
    (LayerEntry(path: TreePath(cleaning: path), kind: .symlink(target: Array(target.utf8)), mode: 0o777), [])
}

func whiteout(_ path: String) -> (LayerEntry, [UInt8]) {
    (LayerEntry(path: TreePath(cleaning: path), kind: .whiteout), [])
}

final class MemorySource: ByteSource, @unchecked Sendable {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let piece = rest.prefix(buffer.count)
        buffer.copyBytes(from: piece)
        rest = rest.dropFirst(piece.count)
        return piece.count
    }
}

final class CollectingSink: ByteSink {
    private(set) var bytes: [UInt8] = []

    func write(_ piece: UnsafeRawBufferPointer) throws { bytes += piece }
}

func storageError<T: ~Copyable>(_ body: () throws -> T) -> StorageError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? StorageError
    }
}

/// The text of a file below a mounted layer; `nil` if it is not there.
func text(_ path: String, in layer: borrowing MountedLayer) throws -> String? {
    guard try Files.status(path, below: layer.root.raw) != nil else { return nil }
    return String(decoding: try Files.contents(path, below: layer.root.raw), as: UTF8.self)
}

func write(_ path: String, _ content: String, in layer: borrowing MountedLayer) throws {
    let file = try Files.open(path, below: layer.root.raw, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    try Files.writeAll(Array(content.utf8), to: file.raw)
}

struct Missing: Error {}

func unwrap<T>(_ value: T?) throws -> T {
    guard let value else { throw Missing() }
    return value
}

/// Rows of a container, as its owner writes them.
func insertContainer(_ id: String, layer: LayerID, _ driver: String, in transaction: Transaction) throws {
    try transaction.run(
        """
        INSERT INTO containers (id, name, image, image_reference, driver, layer, created, config, status)
        VALUES (?1, ?1, '', '', ?2, ?3, 0, '{}', 'created')
        """,
        [.text(id), .text(driver), .text(layer.rawValue)]
    )
}

func setTime(_ path: String, _ seconds: Int, in layer: borrowing MountedLayer) throws {
    let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
    let root = layer.root.raw
    try system("utimensat", path) { utimensat(root, path.isEmpty ? "." : path, times, AT_SYMLINK_NOFOLLOW) }
}
