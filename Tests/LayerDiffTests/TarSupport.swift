// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage

/// Collects what is written.
final class ByteCollector: ByteSink {
    var bytes: [UInt8] = []

    func write(_ piece: UnsafeRawBufferPointer) { bytes += piece }
}

/// Gives bytes in pieces of at most `step`.
final class MemorySource: ByteSource, @unchecked Sendable {
    private var rest: ArraySlice<UInt8>
    private let step: Int

    init(_ bytes: [UInt8], step: Int = .max) {
        rest = bytes[...]
        self.step = step
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, rest.count, step)
        buffer.copyBytes(from: rest.prefix(count))
        rest = rest.dropFirst(count)
        return count
    }
}

/// An entry with its content.
struct Item: Equatable {
    var entry: LayerEntry
    var content: [UInt8]?

    init(_ entry: LayerEntry, _ content: [UInt8]? = nil) {
        self.entry = entry
        self.content = content
    }

    static func == (left: Item, right: Item) -> Bool {
        let (a, b) = (left.entry, right.entry)
        return a.path == b.path && a.kind == b.kind && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid
            && a.mtime == b.mtime && a.xattrs == b.xattrs && left.content == right.content
    }
}

func file(_ path: StaticString, _ content: [UInt8], mode: UInt32 = 0o644) -> Item {
    Item(
        LayerEntry(
            path: TreePath(stringLiteral: path),
            kind: .regular(size: Int64(content.count)),
            mode: mode
        ),
        content
    )
}

func writeTar(_ items: [Item]) throws -> [UInt8] {
    let sink = ByteCollector()
    let writer = TarWriter(sink)
    for item in items {
        try writer.append(item.entry) { emit in try (item.content ?? []).withUnsafeBytes { try emit($0) } }
    }
    try writer.finish()
    return sink.bytes
}

func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
    let sink = ByteCollector()
    let gzip = try GzipSink(sink)
    try bytes.withUnsafeBytes { try gzip.write($0) }
    try gzip.finish()
    return sink.bytes
}

func open(
    _ bytes: [UInt8],
    step: Int = .max,
    adjust: (inout LayerStreamOptions) -> Void = { _ in }
) throws -> LayerStream {
    var options = LayerStreamOptions(label: "layer test")
    options.allowed = Set(Compression.allCases)
    adjust(&options)
    return try LayerStream(source: MemorySource(bytes, step: step), options: options)
}

/// Everything that a source gives.
func readAll(_ source: any LayerEntrySource) throws -> [Item] {
    var items: [Item] = []
    while let entry = try source.next() {
        guard case .regular = entry.kind else {
            items.append(Item(entry))
            continue
        }
        var content: [UInt8] = []
        try source.readContent { content += $0 }
        items.append(Item(entry, content))
    }
    return items
}

/// The message with which reading all of it fails, or `nil`.
func refusal(_ bytes: [UInt8], adjust: (inout LayerStreamOptions) -> Void = { _ in }) -> String? {
    do {
        let stream = try open(bytes, adjust: adjust)
        _ = try readAll(stream)
        _ = try stream.finish()
        return nil
    } catch let error as StorageError {
        return error.description
    } catch {
        return "unexpected: \(error)"
    }
}
