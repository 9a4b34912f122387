// SPDX-License-Identifier: Apache-2.0

package import CLinux
import Glibc

/// A point in time: seconds since 1970, which may be negative, and nanoseconds 0..<1e9 after them.
package struct Timestamp: Hashable, Comparable, Sendable {
    package var seconds: Int64
    package var nanoseconds: UInt32

    package init(seconds: Int64, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// The present, by CLOCK_REALTIME.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
    }
}

/// A device number in its two parts.
package struct DeviceNumber: Hashable, Sendable {
    package var major: UInt32
    package var minor: UInt32

    package init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }
}

/// The type of a file system object (`S_IFMT`).
package enum FileKind: UInt8, Hashable, Sendable {
    case regular
    case directory
    case symlink
    case characterDevice
    case blockDevice
    case fifo
    case socket
}

/// What statx(2) says of one object.
package struct FileStatus: Hashable, Sendable {
    package var kind: FileKind
    /// Permission bits with setuid, setgid and sticky (07777).
    package var mode: UInt32
    package var uid: UInt32
    package var gid: UInt32
    package var links: UInt32
    package var size: Int64
    /// Blocks of 512 bytes.
    package var blocks: Int64
    package var inode: UInt64
    package var device: DeviceNumber
    package var rdev: DeviceNumber
    package var mtime: Timestamp
    package var ctime: Timestamp
    /// The mount it lies on; 0 where the kernel does not tell (before 5.8).
    package var mountID: UInt64

    package init(_ raw: clinux_stat) {
        kind = FileKind(mode: raw.mode)
        mode = raw.mode & 0o7777
        uid = raw.uid
        gid = raw.gid
        links = raw.nlink
        size = Int64(clamping: raw.size)
        blocks = Int64(clamping: raw.blocks)
        inode = raw.ino
        device = DeviceNumber(major: raw.dev_major, minor: raw.dev_minor)
        rdev = DeviceNumber(major: raw.rdev_major, minor: raw.rdev_minor)
        mtime = Timestamp(seconds: raw.mtime_sec, nanoseconds: raw.mtime_nsec)
        ctime = Timestamp(seconds: raw.ctime_sec, nanoseconds: raw.ctime_nsec)
        mountID = raw.mnt_id
    }

    /// Whether it is the overlay whiteout: a character device 0/0.
    package var isWhiteoutDevice: Bool { kind == .characterDevice && rdev.major == 0 && rdev.minor == 0 }
}

extension FileKind {
    init(mode: UInt32) {
        switch mode & UInt32(S_IFMT) {
        case UInt32(S_IFDIR): self = .directory
        case UInt32(S_IFLNK): self = .symlink
        case UInt32(S_IFCHR): self = .characterDevice
        case UInt32(S_IFBLK): self = .blockDevice
        case UInt32(S_IFIFO): self = .fifo
        case UInt32(S_IFSOCK): self = .socket
        default: self = .regular
        }
    }

    /// The `S_IFMT` bits of this kind, for mknod(2) and tar.
    package var formatBits: UInt32 {
        switch self {
        case .regular: UInt32(S_IFREG)
        case .directory: UInt32(S_IFDIR)
        case .symlink: UInt32(S_IFLNK)
        case .characterDevice: UInt32(S_IFCHR)
        case .blockDevice: UInt32(S_IFBLK)
        case .fifo: UInt32(S_IFIFO)
        case .socket: UInt32(S_IFSOCK)
        }
    }
}
