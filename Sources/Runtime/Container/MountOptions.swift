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

    private mutating func attribute(_ option: String) -> Bool {
        guard let (attribute, isOn) = Self.attribute(named: option) else { return false }
        if isOn {
            set.insert(attribute)
            clear.remove(attribute)
        } else {
            set.remove(attribute)
            clear.insert(attribute)
        }
        return true
    }

    /// A switch, since a dictionary would be built anew by every command.
    private static func attribute(named option: String) -> (MountAttributes, isOn: Bool)? {
        switch option {
        case "ro": (.readOnly, true)
        case "rw": (.readOnly, false)
        case "nosuid": (.noSetUID, true)
        case "suid": (.noSetUID, false)
        case "nodev": (.noDevices, true)
        case "dev": (.noDevices, false)
        case "noexec": (.noExec, true)
        case "exec": (.noExec, false)
        case "noatime": (.noAccessTime, true)
        case "atime": (.noAccessTime, false)
        case "strictatime": (.strictAccessTime, true)
        case "nodiratime": (.noDirectoryAccessTime, true)
        case "diratime": (.noDirectoryAccessTime, false)
        case "nosymfollow": (.noSymlinkFollow, true)
        case "symfollow": (.noSymlinkFollow, false)
        default: nil
        }
    }
}
