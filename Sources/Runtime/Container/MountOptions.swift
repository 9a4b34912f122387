// SPDX-License-Identifier: Apache-2.0

import Launch

/// The options of one mount of a specification, sorted by who takes them.
struct MountOptions: Equatable {
    var set: MountAttributes = []
    var clear: MountAttributes = []
    var propagation: Propagation?
    var recursiveBind = false
    /// Whether attributes reach the mounts below (`rro`).
    var recursiveAttributes = false
    /// What the file system itself takes.
    var data: [String] = []

    init(_ options: [String]) {
        for option in options {
            switch option {
            case "rbind": recursiveBind = true
            case "bind", "defaults", "loud", "nomand", "norelatime", "relatime", "newinstance", "async": break
            case "rro":
                set.insert(.readOnly)
                recursiveAttributes = true
            case "private", "rprivate": propagation = .private
            case "slave", "rslave": propagation = .slave
            case "shared", "rshared": propagation = .shared
            case "unbindable", "runbindable": propagation = .unbindable
            default: if !attribute(option) { data.append(option) }
            }
        }
    }

    private static let attributes: [String: MountAttributes] = [
        "ro": .readOnly, "nosuid": .noSetUID, "nodev": .noDevices, "noexec": .noExec,
        "noatime": .noAccessTime,
        "strictatime": .strictAccessTime, "nodiratime": .noDirectoryAccessTime,
        "nosymfollow": .noSymlinkFollow,
    ]

    private static let opposites: [String: MountAttributes] = [
        "rw": .readOnly, "suid": .noSetUID, "dev": .noDevices, "exec": .noExec, "atime": .noAccessTime,
        "diratime": .noDirectoryAccessTime, "symfollow": .noSymlinkFollow,
    ]

    private mutating func attribute(_ option: String) -> Bool {
        if let attribute = Self.attributes[option] {
            set.insert(attribute)
            clear.remove(attribute)
        } else if let attribute = Self.opposites[option] {
            set.remove(attribute)
            clear.insert(attribute)
        } else {
            return false
        }
        return true
    }
}
