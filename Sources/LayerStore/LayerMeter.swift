// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import Synchronization

/// Stops all that take part in one job, at the first failure of one of them or when the user wants it.
final class StopSwitch: Sendable {
    private let stopped = Atomic<Bool>(false)
    private let cancelled: @Sendable () -> Bool

    init(_ cancelled: @escaping @Sendable () -> Bool = { false }) { self.cancelled = cancelled }

    func stop() { stopped.store(true, ordering: .relaxed) }

    var isStopped: Bool { stopped.load(ordering: .relaxed) || cancelled() }

    func check() throws {
        if isStopped { throw StorageError(.interrupted, "stopped") }
    }
}

/// Passes a layer through, counts its bytes, and ends it with an error once its job is stopped.
final class LayerMeter: LayerEntrySource {
    private let source: any LayerEntrySource
    private let stop: StopSwitch
    /// Bytes of the regular files that went through.
    private(set) var size: Int64 = 0
    /// Whether anything was read: before, the source can be given to another layer.
    private(set) var hasBegun = false

    init(_ source: any LayerEntrySource, _ stop: StopSwitch) {
        self.source = source
        self.stop = stop
    }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        hasBegun = true
        try stop.check()
        let entry = try source.next()
        if case .regular(let bytes)? = entry?.kind { size = size.addingReportingOverflow(bytes).partialValue }
        return entry
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try source.readContent { piece in
            try stop.check()
            try body(piece)
        }
    }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}

/// A few entries made here, with empty files.
final class EntryList: LayerEntrySource {
    let label: String
    private var rest: ArraySlice<LayerEntry>

    init(_ entries: [LayerEntry], label: String) {
        self.label = label
        rest = entries[...]
    }

    func next() throws -> LayerEntry? { rest.popFirst() }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {}

    func writeContent(to file: CInt) throws {}
}

extension ChangeSet {
    /// Digest of the tar of the changes, as a commit would write it.
    ///
    /// Cost: one read of them.
    func digest(label: String, _ stop: StopSwitch) throws -> Digest { try tar(label: label, stop).digest }

    /// The same, and the bytes of the regular files in it.
    func tar(label: String, _ stop: StopSwitch) throws -> (digest: Digest, size: Int64) {
        let sink = HashingSink()
        let meter = LayerMeter(ChangeStream(self, label: label), stop)
        let tee = TarTee(meter, sink: sink)
        while let entry = try tee.next() {
            if case .regular(let size) = entry.kind, size > 0 { try tee.readContent { _ in } }
        }
        try tee.finish()
        return (try sink.digest(), meter.size)
    }
}

extension HashingSink {
    /// The digest of all that was written; asked once.
    func digest() throws -> Digest {
        guard let digest = finish() else {
            throw StorageError(.invalid, "hash a tar: its digest was taken before")
        }
        return digest
    }
}
