// SPDX-License-Identifier: Apache-2.0

import JSON

/// A container as the OCI runtime specification describes it (config.json).
///
/// What these types do not know is kept and written again: every type holds the object it was read from.
package struct Spec: Sendable, Equatable {
    package var ociVersion = "1.2.0"
    package var process = Process()
    package var root = Root()
    package var hostname: String?
    package var domainname: String?
    package var mounts: [Mount] = []
    package var annotations: [String: String] = [:]
    package var linux = Linux()
    var rest = JSONObject()

    package init() {}

    package struct Root: Sendable, Equatable {
        package var path = "rootfs"
        package var readonly = false
        var rest = JSONObject()

        package init() {}
    }

    package struct Mount: Sendable, Equatable {
        package var destination: String
        /// A file system type; `bind` (or none with a `bind` option) for a path of the host.
        package var type: String?
        package var source: String?
        package var options: [String]
        var rest = JSONObject()

        package init(destination: String, type: String? = nil, source: String? = nil, options: [String] = [])
        {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
        }

        package var isBind: Bool { type == "bind" || options.contains("bind") || options.contains("rbind") }
    }

    package struct Process: Sendable, Equatable {
        package var terminal = false
        package var consoleSize: ConsoleSize?
        package var user = User()
        package var args: [String] = []
        package var env: [String] = []
        package var cwd = "/"
        package var capabilities: CapabilitySets?
        package var rlimits: [ResourceLimit] = []
        package var noNewPrivileges = false
        package var oomScoreAdj: Int?
        var rest = JSONObject()

        package init() {}
    }

    package struct ConsoleSize: Sendable, Equatable {
        package var rows: UInt16
        package var columns: UInt16

        package init(rows: UInt16, columns: UInt16) {
            self.rows = rows
            self.columns = columns
        }
    }

    package struct User: Sendable, Equatable {
        package var uid: UInt32
        package var gid: UInt32
        package var additionalGids: [UInt32]
        package var umask: UInt32?
        var rest = JSONObject()

        package init(uid: UInt32 = 0, gid: UInt32 = 0, additionalGids: [UInt32] = [], umask: UInt32? = nil) {
            self.uid = uid
            self.gid = gid
            self.additionalGids = additionalGids
            self.umask = umask
        }
    }

    package struct ResourceLimit: Sendable, Equatable {
        /// The name of the limit, such as `RLIMIT_NOFILE`.
        package var type: String
        package var soft: UInt64
        package var hard: UInt64

        package init(type: String, soft: UInt64, hard: UInt64) {
            self.type = type
            self.soft = soft
            self.hard = hard
        }
    }

    package struct CapabilitySets: Sendable, Equatable {
        package var bounding: CapabilitySet
        package var effective: CapabilitySet
        package var permitted: CapabilitySet
        package var inheritable: CapabilitySet
        package var ambient: CapabilitySet

        /// `capabilities` in the bounding, effective and permitted sets; nothing inheritable or ambient.
        package init(_ capabilities: CapabilitySet) {
            bounding = capabilities
            effective = capabilities
            permitted = capabilities
            inheritable = []
            ambient = []
        }
    }
}
