// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// What layers descend from that are not snapshots of their own parents but of a container's layer over these.
///
/// Once the container is gone, nothing else tells where to look for the changes. `layers/lineage.<id>` is a symbolic link,
/// whose text is on disk with the transaction that makes it; the content of a file would be written apart. It holds
/// for the subvolume that it was made for, so one that is left over does no harm, and where it is lost, both trees are walked.
struct Lineage {
    private static let prefix = "lineage."

    /// The directory `layers`; stays the caller's.
    let layers: CInt

    struct Record: Equatable {
        /// Of the subvolume that the layer is a snapshot of.
        var origin: [UInt8]
        /// Of the layer that it stands on.
        var base: [UInt8]
        /// What differs between the two was written by later transactions.
        var transaction: UInt64

        fileprivate var text: String {
            "\(Subvolume.text(ofUUID: origin)) \(Subvolume.text(ofUUID: base)) \(transaction)"
        }
    }

    /// The layer whose record has this name, if it is one's.
    static func layer(ofRecord name: String) -> LayerID? {
        name.hasPrefix(prefix) ? LayerID(String(name.dropFirst(prefix.utf8.count))) : nil
    }

    func write(_ record: Record, for id: LayerID) throws(SystemError) {
        let name = name(id)
        try Files.unlink(name, below: layers)
        try system("symlink", name) { symlinkat(record.text, layers, name) }
    }

    /// The transaction of the record that was written for a subvolume of this origin and for this base, or any.
    func transaction(of id: LayerID, origin: [UInt8], base: [UInt8]?) throws(SystemError) -> UInt64? {
        let target: [UInt8]
        do throws(SystemError) {
            target = try Files.readLink(name(id), below: layers)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
        let words = String(decoding: target, as: UTF8.self).split(separator: " ")
        guard words.count == 3, words[0] == Subvolume.text(ofUUID: origin),
            base.map({ words[1] == Subvolume.text(ofUUID: $0) }) ?? true
        else { return nil }
        return UInt64(words[2])
    }

    private func name(_ id: LayerID) -> String { "\(Self.prefix)\(id)" }
}
