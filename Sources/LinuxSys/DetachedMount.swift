// SPDX-License-Identifier: Apache-2.0

import CLinux
import SystemPackage

/// Mounts that stand in no mount table: they live as long as their descriptor and vanish with the process.
package enum DetachedMount {
    package struct Attributes: OptionSet, Sendable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        package static let readOnly = Attributes(rawValue: CLINUX_MOUNT_ATTR_RDONLY)
        package static let noSetUID = Attributes(rawValue: CLINUX_MOUNT_ATTR_NOSUID)
        package static let noDevices = Attributes(rawValue: CLINUX_MOUNT_ATTR_NODEV)
        package static let noExec = Attributes(rawValue: CLINUX_MOUNT_ATTR_NOEXEC)
        package static let noAccessTime = Attributes(rawValue: CLINUX_MOUNT_ATTR_NOATIME)
        /// Each access counts, not only the first of a day.
        package static let strictAccessTime = Attributes(rawValue: CLINUX_MOUNT_ATTR_STRICTATIME)
        /// All bits of the ways to keep access times (MOUNT_ATTR__ATIME); one way is set by clearing them first.
        fileprivate static let accessTimes = Attributes(rawValue: 0x70)
    }

    /// One parameter of a file system, as fsconfig(2) takes it.
    package enum Parameter {
        case flag(String)
        case string(String, String)
        case descriptor(String, CInt)
    }

    /// Makes a new instance of file system `type`.
    ///
    /// On failure the error carries the kernel's own message, if any.
    package static func make(
        _ type: String,
        _ parameters: [Parameter],
        attributes: Attributes = []
    ) throws(SystemError) -> OwnedFD {
        let context = OwnedFD(adopting: try system("fsopen", type) { clinux_fsopen(type) })
        do throws(SystemError) {
            for parameter in parameters {
                switch parameter {
                case .flag(let key):
                    try system("fsconfig", key) { clinux_fsconfig_flag(context.raw, key) }
                case .string(let key, let value):
                    try system("fsconfig", "\(key)=\(value)") {
                        clinux_fsconfig_string(context.raw, key, value)
                    }
                case .descriptor(let key, let fd):
                    try system("fsconfig", key) { clinux_fsconfig_fd(context.raw, key, fd) }
                }
            }
            try system("mount", type) { clinux_fsconfig_create(context.raw) }
            return OwnedFD(
                adopting: try system("fsmount", type) { clinux_fsmount(context.raw, attributes.rawValue) }
            )
        } catch {
            throw explained(error, by: context.raw)
        }
    }

    /// The error with the message that the kernel left on the file system context, if any.
    package static func explained(_ error: SystemError, by context: CInt) -> SystemError {
        let parts = [error.path, message(of: context)].compactMap(\.self)
        return SystemError(error.operation, parts.isEmpty ? nil : parts.joined(separator: ": "), error.errno)
    }

    /// A detached copy of the mount at `path`, as open_tree(2) makes it.
    package static func clone(
        _ path: some PathConvertible,
        below directory: CInt,
        recursive: Bool = false
    ) throws(SystemError) -> OwnedFD {
        OwnedFD(
            adopting: try system("open_tree", path.printable) {
                path.withCPath { clinux_open_tree_clone(directory, $0, recursive ? 1 : 0) }
            }
        )
    }

    package static func set(
        _ attributes: Attributes,
        clearing cleared: Attributes = [],
        on mount: CInt,
        recursive: Bool = false
    ) throws(SystemError) {
        let cleared = attributes.isDisjoint(with: .accessTimes) ? cleared : cleared.union(.accessTimes)
        try system("mount_setattr") {
            clinux_mount_setattr(mount, recursive ? 1 : 0, attributes.rawValue, cleared.rawValue, 0, -1)
        }
    }

    /// Maps ids on a detached mount by the user namespace `userNamespace`; possible once, before it is attached.
    package static func mapIDs(by userNamespace: CInt, on mount: CInt) throws(SystemError) {
        try system("mount_setattr idmap") {
            clinux_mount_setattr(mount, 0, CLINUX_MOUNT_ATTR_IDMAP, 0, 0, userNamespace)
        }
    }

    /// Attaches a detached mount in the caller's mount namespace.
    package static func attach(
        _ mount: CInt,
        at path: some PathConvertible,
        below directory: CInt
    ) throws(SystemError) {
        try system("move_mount", path.printable) {
            path.withCPath { clinux_move_mount(mount, directory, $0) }
        }
    }

    private static func message(of context: CInt) -> String? {
        var buffer = [CChar](repeating: 0, count: 512)
        var last: String?
        while true {
            let count = buffer.withUnsafeMutableBufferPointer {
                clinux_fs_message(context, $0.baseAddress, 511)
            }
            guard count > 2 else { return last }
            var text = buffer[2..<count].map { UInt8(bitPattern: $0) }
            while text.last == UInt8(ascii: "\n") { text.removeLast() }
            if buffer[0] == CChar(UInt8(ascii: "e")) || last == nil {
                last = String(decoding: text, as: UTF8.self)
            }
        }
    }
}
