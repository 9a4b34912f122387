// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
import SystemPackage

/// The directories on the way from a root down to the one a walk is in.
///
/// Only the lowest `limit` hold a descriptor, so depth is bounded by memory and not by RLIMIT_NOFILE; on the way up the
/// others are opened again through `..`, and it is checked that they are the same directories.
package final class DirectoryStack {
    private struct Level {
        /// -1 while closed.
        var fd: CInt
        var inode: UInt64 = 0
        var device = DeviceNumber(major: 0, minor: 0)
    }

    private static let limit = 96
    private let root: CInt
    private var levels: [Level] = []

    /// - Parameter root: stays the caller's and must outlive the stack.
    package init(root: CInt) {
        self.root = root
    }

    deinit {
        for level in levels where level.fd != -1 { close(level.fd) }
    }

    /// How many directories below the root.
    package var depth: Int { levels.count }

    /// The descriptor of the lowest directory.
    package var top: CInt { levels.last?.fd ?? root }

    /// Goes down into `directory`, which was opened by a single name below `top`.
    package func push(_ directory: consuming OwnedFD) throws(SystemError) {
        levels.append(Level(fd: directory.release()))
        let old = levels.count - 1 - Self.limit
        guard old >= 0, levels[old].fd != -1 else { return }
        let status = try Files.status(of: levels[old].fd)
        levels[old].inode = status.inode
        levels[old].device = status.device
        close(levels[old].fd)
        levels[old].fd = -1
    }

    /// Goes down into `name` of `top`.
    package func push(_ name: TreePath) throws(SystemError) {
        try push(try Files.openDirectory(name, below: top))
    }

    /// Goes up one level.
    package func pop() throws(SystemError) {
        guard let last = levels.popLast() else { return }
        defer { close(last.fd) }
        guard let index = levels.indices.last, levels[index].fd == -1 else { return }
        let directory = try Files.open("..", below: last.fd, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        let status = try Files.status(of: directory.raw)
        guard status.inode == levels[index].inode, status.device == levels[index].device else {
            throw SystemError("walk up", nil, .staleNFSFileHandle)
        }
        levels[index].fd = directory.release()
    }
}
