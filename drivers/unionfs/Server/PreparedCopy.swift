// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// The content of a large file of a layer below in an unnamed file of the upper's file system.
///
/// It is made before the copy-up takes the tree's lock, so that nobody waits for it; what is below does not change.
struct PreparedCopy {
    let fd: CInt

    func discard() { cfuse_close(fd) }
}

extension UnionFS {
    /// Below this a copy under the lock costs nobody anything.
    private static let smallest = 256 << 10

    /// Copies the content of a file that is about to come up; `nil` where there is little of it, or nothing to do.
    func prepareCopy(_ id: UInt64) throws(Failure) -> PreparedCopy? {
        guard isWritable, canMakeUnnamed, let (from, status) = try openLower(id) else { return nil }
        defer { cfuse_close(from) }
        guard let fd = try makeUnnamed() else { return nil }
        cfuse_begin_long()
        defer { cfuse_end_long() }
        do throws(Failure) {
            try copyContent(from, to: fd, status, Int64(status.st_size))
        } catch {
            cfuse_close(fd)
            throw error
        }
        return PreparedCopy(fd: fd)
    }

    private func openLower(_ id: UInt64) throws(Failure) -> (CInt, stat)? {
        tree.read()
        defer { tree.unlock() }
        let node = try node(id)
        guard node.layer != 0, node.type == S_IFREG, !node.isOrphan else { return nil }
        let place = try place(of: node)
        let status = try place.status()
        return status.st_size < Self.smallest ? nil : (try place.open(O_RDONLY), status)
    }
}
