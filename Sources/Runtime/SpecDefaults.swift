// SPDX-License-Identifier: Apache-2.0

import Launch

/// What a container gets unless told otherwise: as Docker's.
package enum SpecDefaults {
    /// A specification with everything but the program, its user and the limits.
    package static func container() -> Spec {
        var spec = Spec()
        spec.process.env = [path]
        spec.process.capabilities = Spec.CapabilitySets(.containerDefault)
        spec.mounts = mounts
        spec.linux.namespaces = [.pid, .mount, .uts, .ipc, .cgroup, .network].map { Spec.Namespace($0) }
        spec.linux.maskedPaths = maskedPaths
        spec.linux.readonlyPaths = readonlyPaths
        spec.linux.resources.devices = deviceRules
        spec.linux.seccomp = .containerDefault(.containerDefault)
        return spec
    }

    package static let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    package static let mounts: [Spec.Mount] = [
        Spec.Mount(
            destination: "/proc",
            type: "proc",
            source: "proc",
            options: ["nosuid", "noexec", "nodev"]
        ),
        Spec.Mount(
            destination: "/dev",
            type: "tmpfs",
            source: "tmpfs",
            options: ["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        Spec.Mount(
            destination: "/dev/pts",
            type: "devpts",
            source: "devpts",
            options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        Spec.Mount(
            destination: "/sys",
            type: "sysfs",
            source: "sysfs",
            options: ["nosuid", "noexec", "nodev", "ro"]
        ),
        Spec.Mount(
            destination: "/sys/fs/cgroup",
            type: "cgroup",
            source: "cgroup",
            options: ["ro", "nosuid", "noexec", "nodev"]
        ),
        Spec.Mount(
            destination: "/dev/mqueue",
            type: "mqueue",
            source: "mqueue",
            options: ["nosuid", "noexec", "nodev"]
        ),
        Spec.Mount(
            destination: "/dev/shm",
            type: "tmpfs",
            source: "shm",
            options: ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]
        ),
    ]

    package static let maskedPaths = [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]

    package static let readonlyPaths = [
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    ]

    /// Device nodes of every container's `/dev`, beside those of `linux.devices`.
    static let devices: [Spec.Device] = [
        Spec.Device(path: "/dev/null", major: 1, minor: 3),
        Spec.Device(path: "/dev/zero", major: 1, minor: 5),
        Spec.Device(path: "/dev/full", major: 1, minor: 7),
        Spec.Device(path: "/dev/random", major: 1, minor: 8),
        Spec.Device(path: "/dev/urandom", major: 1, minor: 9),
        Spec.Device(path: "/dev/tty", major: 5, minor: 0),
    ]

    /// Symlinks of every container's `/dev`: path and target.
    static let deviceLinks: [(path: String, target: String)] = [
        ("/dev/ptmx", "pts/ptmx"), ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"), ("/dev/stderr", "/proc/self/fd/2"), ("/dev/core", "/proc/kcore"),
    ]

    /// Making any node is allowed, using only the default ones, terminals, and what the user adds.
    package static let deviceRules: [Spec.DeviceRule] = [
        Spec.DeviceRule(allow: false),
        Spec.DeviceRule(allow: true, type: "c", access: "m"),
        Spec.DeviceRule(allow: true, type: "b", access: "m"),
        Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 3),
        Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 5),
        Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 7),
        Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 8),
        Spec.DeviceRule(allow: true, type: "c", major: 1, minor: 9),
        Spec.DeviceRule(allow: true, type: "c", major: 5, minor: 0),
        Spec.DeviceRule(allow: true, type: "c", major: 5, minor: 1),
        Spec.DeviceRule(allow: true, type: "c", major: 5, minor: 2),
        Spec.DeviceRule(allow: true, type: "c", major: 136),
    ]
}
