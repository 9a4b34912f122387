// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import SystemPackage

/// Something of the machine that a test cannot do without.
package enum Need: Sendable, CustomStringConvertible {
    case root
    /// Anyone but root, whom permissions bind.
    case ordinaryUser
    /// The kernel's overlay file system, on the file system of the temporary directories.
    case overlay
    /// A file system type that the kernel serves, by its name there.
    case filesystem(String)
    /// A program in PATH.
    case program(String)
    case userNamespaces
    case cgroupV1
    case cgroupV2
    /// A device node or any other path, e.g. `/dev/fuse`.
    case path(FilePath)
    /// The right to make device nodes in the temporary directory.
    case deviceNodes
    case loopDevices
    /// Two processors or more.
    case processors(Int)
    /// Whatever else: a name for it and why it is not met, if it is not.
    case other(String, unmet: @Sendable () -> String?)
    /// As `other`, of the kernel: `scripts/test` runs these tests in the other kernel too, which has it.
    case kernel(String, unmet: @Sendable () -> String?)

    package var description: String {
        switch self {
        case .root: "root"
        case .ordinaryUser: "an ordinary user"
        case .overlay: "overlay"
        case .filesystem(let name): "file system \(name)"
        case .program(let name): "program \(name)"
        case .userNamespaces: "user namespaces"
        case .cgroupV1: "cgroup v1"
        case .cgroupV2: "cgroup v2"
        case .path(let path): path.string
        case .deviceNodes: "device nodes"
        case .loopDevices: "loop devices"
        case .processors(let count): "\(count) processors"
        case .other(let name, _), .kernel(let name, _): name
        }
    }

    /// Why the machine does not have it; `nil` if it has.
    package var unmet: String? {
        switch self {
        case .root: geteuid() == 0 ? nil : "needs root"
        case .ordinaryUser: geteuid() != 0 ? nil : "needs an ordinary user, runs as root"
        case .overlay: Self.overlayUnmet
        case .filesystem(let name): Self.serves(name) ? nil : "the kernel has no file system \(name)"
        case .program(let name): Self.find(name) != nil ? nil : "no program \(name) in PATH"
        case .userNamespaces: Self.userNamespacesUnmet
        case .cgroupV1: Self.mounted("cgroup") ? nil : "no cgroup v1 is mounted"
        case .cgroupV2: Self.mounted("cgroup2") ? nil : "no cgroup v2 is mounted"
        case .path(let path): Self.exists(path) ? nil : "\(path) is not there"
        case .deviceNodes: Self.deviceNodesUnmet
        case .loopDevices: Self.exists("/dev/loop-control") ? nil : "no /dev/loop-control"
        case .processors(let count):
            sysconf(Int32(_SC_NPROCESSORS_ONLN)) >= count ? nil : "needs \(count) processors"
        case .other(_, let unmet), .kernel(_, let unmet): unmet()
        }
    }

    /// Whether the other kernel, in which `scripts/test` is about to run it, has this.
    var isMetInOtherKernel: Bool {
        guard case .kernel = self, let value = getenv("STRATA_OTHER_KERNEL") else { return false }
        return String(cString: value) == "1"
    }

    /// The path of a program in PATH.
    package static func find(_ program: String) -> FilePath? {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/sbin:/usr/bin:/sbin:/bin"
        return path.split(separator: ":").map { FilePath(String($0)).appending(program) }
            .first { access($0.string, X_OK) == 0 }
    }

    private static func exists(_ path: FilePath) -> Bool { (try? Files.status(path)) != nil }

    /// Asks the kernel for it, which loads a module; without the right to ask, what is loaded counts.
    private static func serves(_ type: String) -> Bool {
        if let context = try? system("fsopen", nil, { clinux_fsopen(type) }) {
            _ = OwnedFD(adopting: context)
            return true
        }
        return words(of: "/proc/filesystems").contains(type)
    }

    private static let overlayUnmet: String? = {
        if !serves("overlay") { return "the kernel has no file system overlay" }
        if geteuid() != 0 { return "mounting an overlay needs root" }
        do {
            let directory = try TemporaryDirectory()
            for name in ["lower", "upper", "work"] { try Files.makeDirectory(name, below: directory.fd) }
            let context = OwnedFD(adopting: try system("fsopen") { clinux_fsopen("overlay") })
            for (key, name) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
                let path = directory.path.appending(name).string
                try system("fsconfig", key) { clinux_fsconfig_string(context.raw, key, path) }
            }
            try system("mount overlay") { clinux_fsconfig_create(context.raw) }
            return nil
        } catch {
            return "an overlay cannot be mounted below \(TemporaryDirectory.base) (set TMPDIR): \(error)"
        }
    }()

    private static let deviceNodesUnmet: String? = {
        do {
            let directory = try TemporaryDirectory()
            let mode = FileKind.characterDevice.formatBits | 0o600
            try system("mknod") { clinux_mknodat(directory.fd, "null", mode, 1, 3) }
            return nil
        } catch {
            return "device nodes cannot be made: \(error)"
        }
    }()

    private static var userNamespacesUnmet: String? {
        if !exists("/proc/self/ns/user") { return "the kernel has no user namespaces" }
        for file in ["/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"] {
            if words(of: FilePath(file)) == ["0"], file.hasSuffix("max_user_namespaces") || geteuid() != 0 {
                return "\(file) is 0"
            }
        }
        return nil
    }

    /// Whether /proc/self/mountinfo lists a mount of `type`.
    private static func mounted(_ type: String) -> Bool {
        let lines = contents("/proc/self/mountinfo").split(separator: UInt8(ascii: "\n"))
        return lines.contains { line in
            let fields = line.split(separator: UInt8(ascii: " "))
            guard let dash = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }) else { return false }
            return fields.index(after: dash) < fields.endIndex && fields[dash + 1].elementsEqual(type.utf8)
        }
    }

    private static func contents(_ path: FilePath) -> [UInt8] { (try? Files.contents(path)) ?? [] }

    private static func words(of path: FilePath) -> [String] {
        contents(path).split {
            $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ")
        }
        .map { String(decoding: $0, as: UTF8.self) }
    }
}

extension Need {
    /// A kernel that is new enough for what `feature` names.
    package static func linux(_ major: Int, _ minor: Int, for feature: String) -> Need {
        .other(feature) {
            var name = utsname()
            uname(&name)
            let release = withUnsafeBytes(of: name.release) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
            return numbers.lexicographicallyPrecedes([major, minor])
                ? "Linux \(release) is older than \(major).\(minor)" : nil
        }
    }

    /// A kernel with device-mapper.
    package static let deviceMapper = Need.kernel(
        "device-mapper",
        unmet: {
            do throws(SystemError) {
                _ = try Files.open("/dev/mapper/control", O_RDWR)
                return nil
            } catch {
                return "/dev/mapper/control: \(error.errno)"
            }
        }
    )
}
