// SPDX-License-Identifier: Apache-2.0

import JSON
package import Launch

extension Spec {
    package struct Linux: Sendable, Equatable {
        package var namespaces: [Namespace] = []
        package var uidMappings: [IDMapping] = []
        package var gidMappings: [IDMapping] = []
        package var devices: [Device] = []
        package var cgroupsPath: String?
        package var resources = Resources()
        package var rootfsPropagation: String?
        package var seccomp: SeccompProfile?
        package var sysctl: [String: String] = [:]
        package var maskedPaths: [String] = []
        package var readonlyPaths: [String] = []
        var rest = JSONObject()

        package init() {}

        /// The namespaces to be made new (those without a path).
        package var newNamespaces: Namespaces {
            var kinds: UInt64 = 0
            for namespace in namespaces where namespace.path == nil { kinds |= namespace.kind.rawValue }
            return Namespaces(rawValue: kinds)
        }
    }

    package struct Namespace: Sendable, Equatable {
        package var kind: Namespaces
        /// An existing one to join.
        package var path: String?

        package init(_ kind: Namespaces, path: String? = nil) {
            self.kind = kind
            self.path = path
        }
    }

    package struct IDMapping: Sendable, Equatable {
        package var containerID: UInt32
        package var hostID: UInt32
        package var size: UInt32

        package init(containerID: UInt32, hostID: UInt32, size: UInt32) {
            self.containerID = containerID
            self.hostID = hostID
            self.size = size
        }
    }

    package struct Device: Sendable, Equatable {
        package var path: String
        /// `c`, `b`, `u` or `p`.
        package var type: String
        package var major: UInt32
        package var minor: UInt32
        package var fileMode: UInt32
        package var uid: UInt32
        package var gid: UInt32

        package init(
            path: String,
            type: String = "c",
            major: UInt32,
            minor: UInt32,
            fileMode: UInt32 = 0o666,
            uid: UInt32 = 0,
            gid: UInt32 = 0
        ) {
            self.path = path
            self.type = type
            self.major = major
            self.minor = minor
            self.fileMode = fileMode
            self.uid = uid
            self.gid = gid
        }
    }

    /// Limits; `nil` leaves a thing as it is.
    package struct Resources: Sendable, Equatable {
        package var devices: [DeviceRule] = []
        /// Bytes.
        package var memory: Int64?
        /// Memory and swap together, in bytes; -1 for no limit.
        package var memorySwap: Int64?
        package var memoryReservation: Int64?
        package var cpuShares: UInt64?
        /// Microseconds of each period.
        package var cpuQuota: Int64?
        package var cpuPeriod: UInt64?
        package var cpusetCPUs: String?
        package var cpusetMemoryNodes: String?
        /// 0 or less: no limit.
        package var pids: Int64?
        var rest = JSONObject()

        package init() {}
    }

    package struct DeviceRule: Sendable, Equatable {
        package var allow: Bool
        /// `a`, `c` or `b`.
        package var type: String
        /// `nil` for any.
        package var major: Int64?
        package var minor: Int64?
        /// Of `r`, `w`, `m`.
        package var access: String

        package init(
            allow: Bool,
            type: String = "a",
            major: Int64? = nil,
            minor: Int64? = nil,
            access: String = "rwm"
        ) {
            self.allow = allow
            self.type = type
            self.major = major
            self.minor = minor
            self.access = access
        }
    }
}
