// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The names of a layer's files that may have several, in a file `links/<id>` beside the layers, each ended by a zero.
///
/// It is written when the layer is unpacked, so that a server that must bring up a file with all its names need not
/// walk the layer. A layer without such a file, one that a container wrote, is walked.
enum LinkNames {
    static func path(_ id: LayerID) -> String { "../links/\(id)" }

    /// - Parameter names: what the layer's entries say; and what `Undecided` leaves for later.
    static func write(_ names: [TreePath], for id: LayerID, below layers: CInt) throws(SystemError) {
        let file = try Files.open(
            path(id),
            below: layers,
            O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
            mode: 0o600
        )
        try Files.writeAll(names.flatMap { $0.bytes + [0] }, to: file.raw)
        try file.close()
    }
}

/// Passes a layer on, and notes the names of its hard links and of what they lead to.
final class LinkNoter: LayerEntrySource {
    private let source: any LayerEntrySource
    private(set) var names: [TreePath] = []

    init(_ source: any LayerEntrySource) { self.source = source }

    var label: String { source.label }

    func next() throws -> LayerEntry? {
        let entry = try source.next()
        if let entry, case .hardLink(let target) = entry.kind { names += [entry.path, target] }
        return entry
    }

    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws { try source.readContent(body) }

    func writeContent(to file: CInt) throws { try source.writeContent(to: file) }
}
