// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Overlay2Driver
import Storage
import SystemPackage
import VFSDriver

/// A driver with a home of its own below `BENCH_DIR`, and a chain of sealed layers.
///
/// It goes with the file system that `BENCH_DIR` is on.
final class Bench {
    static let drivers: [any StorageDriver.Type] = [Overlay2Driver.self, VFSDriver.self]
    /// Of a layer, and of the changes to it.
    static let files = 1000

    let driver: any StorageDriver
    private(set) var chain = LayerChain()

    /// - Parameter files: in each layer; the same in all.
    init(_ kind: any StorageDriver.Type, layers: Int = 0, files: Int = Bench.files) throws {
        let home = try Self.place().appending("home-\(LayerID.random())")
        driver = try kind.init(home: home, options: [:])
        guard layers > 0 else { return }
        let tar = try Self.tar(files: files)
        for _ in 0..<layers {
            let id = LayerID.random()
            let stream = try LayerStream(source: FileRegion(tar), options: .init(label: "the layer"))
            let undecided = try driver.apply(stream, to: id, over: chain)
            _ = try stream.finish()
            try driver.seal(id, over: chain, undecided: undecided)
            chain = chain.appending(id)
        }
    }

    func prepare() throws -> LayerID {
        let id = LayerID.random()
        try driver.prepare(id, over: chain, options: LayerOptions())
        return id
    }

    func discard(_ id: LayerID) throws {
        try driver.remove(id)
        try driver.emptyTrash { false }
    }

    /// Writes to every file of the layer below.
    func change(_ id: LayerID) throws {
        let tree = try driver.mount(id, over: chain, access: .readWrite)
        for number in 0..<Self.files {
            let file = try Files.open(
                FilePath(Self.name(number)),
                below: tree.root.raw,
                O_WRONLY | O_APPEND
            )
            try Files.writeAll(Array("changed".utf8), to: file.raw)
        }
    }

    /// A layer of files of 500 bytes, 50 in a directory.
    static func tar(files: Int) throws -> SharedFD {
        let path = try place().appending("layer-\(LayerID.random()).tar")
        let file = SharedFD(try Files.open(path, O_RDWR | O_CREAT | O_EXCL))
        let sink = DescriptorSink(file)
        let writer = TarWriter(sink)
        let content = [UInt8](repeating: 0x78, count: 500)
        for number in 0..<files {
            let entry = LayerEntry(
                path: TreePath(bytes: Array(name(number).utf8)),
                kind: .regular(size: Int64(content.count)),
                mode: 0o644,
                mtime: Timestamp(seconds: 1_700_000_000)
            )
            try writer.append(entry) { emit in try content.withUnsafeBytes(emit) }
        }
        try writer.finish()
        try sink.flush()
        return file
    }

    private static func name(_ number: Int) -> String { "directory-\(number / 50)/file-\(number)" }

    private static func place() throws -> FilePath {
        guard let path = getenv("BENCH_DIR") else {
            throw StorageError(
                .invalid,
                "find a place for layers: BENCH_DIR is not set",
                remedy: "Benchmarks/micro/run"
            )
        }
        return FilePath(String(cString: path))
    }
}
