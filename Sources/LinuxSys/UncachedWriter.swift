// SPDX-License-Identifier: Apache-2.0

import CLinux
import SystemPackage

/// Writes what will hardly be read soon, of which the kernel keeps no page longer than the disk takes to write it.
///
/// The disk begins at once, so a sync later has less to wait for, and memory goes on being used for what is read. Where the
/// file system or the kernel cannot do that (RWF_DONTCACHE: ext4 and xfs since Linux 6.14), it is written as anything else.
package struct UncachedWriter {
    private let fd: CInt
    private var isRefused = false

    /// - Parameter fd: stays the caller's; everything goes to its position.
    package init(_ fd: CInt) { self.fd = fd }

    /// Writes all of `bytes`.
    package mutating func writeAll(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var rest = bytes
        while !isRefused, !rest.isEmpty {
            let piece = rest
            let count = try systemAnswer("write", expecting: .notSupported, .invalidArgument, .noFunction) {
                clinux_write_uncached(fd, piece.baseAddress, piece.count)
            }
            isRefused = count == nil
            rest = UnsafeRawBufferPointer(rebasing: rest[(count ?? 0)...])
        }
        try Files.writeAll(rest, to: fd)
    }
}
