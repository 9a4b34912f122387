// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// The attributes in which POSIX ACLs are kept.
enum ACL {
    static let accessName = "system.posix_acl_access"
    static let defaultName = "system.posix_acl_default"

    static func isAccess(_ attribute: ExtendedAttribute) -> Bool {
        attribute.name.elementsEqual(accessName.utf8)
    }
}

/// Setting what a file is besides its content.
enum Metadata {
    /// Makes `attributes` all that an open file or directory has, but for the form's own marks.
    static func replaceAttributes(
        on fd: CInt,
        with attributes: [ExtendedAttribute],
        form: any TreeForm
    ) throws {
        let wanted = Set(attributes.map(\.name))
        let surplus = try form.attributes(of: fd).filter { !wanted.contains($0.name) }
        for attribute in try form.stored(surplus) {
            try ExtendedAttributes.remove(attribute.name, from: ".", below: fd)
        }
        for attribute in try form.stored(attributes) { try ExtendedAttributes.set(attribute, on: fd) }
    }

    static func setTime(_ time: Timestamp, on name: TreePath, below directory: CInt) throws(SystemError) {
        try system("utimensat", name.printable) {
            name.withCPath {
                clinux_utimensat(directory, $0, time.seconds, time.nanoseconds, CLINUX_AT_SYMLINK_NOFOLLOW)
            }
        }
    }

    static func setTime(_ time: Timestamp, on fd: CInt) throws(SystemError) {
        try system("futimens") { clinux_utimensat(fd, "", time.seconds, time.nanoseconds, 0) }
    }

    /// Sets the mode of something that is not a symlink and that nobody else can replace meanwhile.
    static func setMode(_ mode: UInt32, on name: TreePath, below directory: CInt) throws(SystemError) {
        try system("fchmodat", name.printable) { name.withCPath { fchmodat(directory, $0, mode, 0) } }
    }

    static func setOwner(
        _ uid: UInt32,
        _ gid: UInt32,
        on name: TreePath,
        below directory: CInt
    ) throws(SystemError) {
        try system("fchownat", name.printable) {
            name.withCPath { fchownat(directory, $0, uid, gid, CLINUX_AT_SYMLINK_NOFOLLOW) }
        }
    }

    static func link(
        _ old: TreePath,
        below oldDirectory: CInt,
        to new: TreePath,
        below newDirectory: CInt
    ) throws(SystemError) {
        try system("link", "\(old.printable) to \(new.printable)") {
            old.withCPath { o in new.withCPath { n in clinux_linkat(oldDirectory, o, newDirectory, n, 0) } }
        }
    }
}
